//! How streams that run in processes of their own are offered: their workers go on under the new server.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::{FLUSH_MS, Offered, Offering, kind, stays};
use crate::error::Result;
use crate::net::fd_channel::FdChannel;
use crate::server::inbox::OfferedJob;
use crate::stream::Hold;
use crate::stream::process::adoption::OfferedProcess;

impl Offering<'_> {
    /// Offers all streams that can go, with their workers, which describe themselves at the same time.
    pub(super) fn send_workers(&mut self, channel: &FdChannel, mut jobs: Vec<OfferedJob>) -> Result<()> {
        let streams = self.core.registry().streams.all()?;
        let mut begun = Vec::new();
        for stream in streams.into_iter().filter(|stream| !stream.life().is_stopping()) {
            // Its process goes on meanwhile.
            let hold = Hold::default();
            let offered = Offered { stream, verdict: Arc::default(), hold, drain_ms: None };
            let of_stream = |job: &mut OfferedJob| job.target.stream().id() == offered.stream.id();
            let jobs: Vec<OfferedJob> = jobs.extract_if(.., of_stream).collect();
            match offered.stream.offer_process(&offered.verdict) {
                Ok(wait) => begun.push((offered, jobs, wait)),
                Err(failure) => stays(&offered.stream, &failure),
            }
        }
        for (mut offered, mut jobs, wait) in begun {
            match self.outcome(&wait) {
                Ok(process) => {
                    // The ends of connections over TLS are here, also if nobody else is left.
                    offered.drain_ms = Some(if process.has_pumps { self.drain_ms } else { FLUSH_MS });
                    self.streams.push(offered);
                    self.send_process(channel, &process)?;
                    jobs.retain(|job| !process.targets.contains(&job.target.id));
                    self.send_targets(channel, jobs)?;
                }
                Err(failure) => stays(&offered.stream, &failure),
            }
        }
        Ok(())
    }

    fn send_process(&mut self, channel: &FdChannel, process: &OfferedProcess) -> Result<()> {
        self.say(channel, kind::ISOLATED, &process.state, None)?;
        let Some(worker) = &process.worker else { return Ok(()) };
        for report in &worker.description {
            self.say(channel, kind::REPORT, report, None)?;
        }
        self.say(channel, kind::PROCESS, &[], Some(worker.process.as_fd()))?;
        self.say(channel, kind::CHANNEL, &[], Some(worker.channel.as_fd()))?;
        self.sessions += process.sessions;
        Ok(())
    }
}
