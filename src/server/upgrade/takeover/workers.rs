//! The records of streams whose workers go on under this server.

use std::sync::Arc;

use super::isolated::{self, Isolated};
use super::{Entering, MAX_TARGETS};
use crate::error::{Failure, RRError, Result};
use crate::net::heap;
use crate::server::import;
use crate::stream::RRStream;
use crate::stream::process::adoption::{Adoption, Described, IsolatedStream};

impl Entering<'_> {
    /// Takes a stream that runs in a process of its own.
    pub(super) fn take_isolated(&mut self, body: &[u8]) -> Result<()> {
        if self.core.workers().is_none() {
            let text = "it sends a stream with its process, though this server has said that it takes none (isolate)";
            return Err(Failure::peers(RRError::Protocol, text));
        }
        let isolated = IsolatedStream::read(body)?;
        let prepared = match self.adopts {
            true => isolated::place_of(self.core, &isolated.stream.name)?,
            false => None,
        };
        let is_new = prepared.is_none();
        let stream = match prepared {
            Some(stream) => stream,
            None => {
                let stream = import::enter_isolated(self.core, &isolated)?;
                self.streams.push(Arc::clone(&stream));
                stream
            }
        };
        if !self.adopts {
            // Its resting targets come by its name, and nobody else does before this server listens.
            self.core.registry().give_name(&stream)?;
        }
        stream.note_crashes(&isolated);
        let worker = isolated.runs.then(|| Box::new(Adoption::of(&isolated)));
        self.isolated.push(Isolated { stream, is_new, worker, targets: Vec::new() });
        Ok(())
    }

    /// The worker that is just coming.
    pub(super) fn worker(&mut self) -> Result<&mut Adoption> {
        let last = self.isolated.last_mut().and_then(|isolated| isolated.worker.as_deref_mut());
        last.filter(|worker| !worker.is_complete()).ok_or_else(nothing_runs)
    }

    /// Takes a part of its description.
    pub(super) fn take_report(&mut self, body: Vec<u8>) -> Result<()> {
        let Self { core, config, isolated, trusts, targets, .. } = self;
        let Some(Isolated { stream, worker: Some(worker), targets: of_worker, .. }) = isolated.last_mut() else {
            return Err(nothing_runs());
        };
        if worker.is_complete() {
            return Err(nothing_runs());
        }
        heap::room()?;
        let described = Described::read(&body, &worker.sessions_with(config), stream.name())?;
        worker.note(&described)?;
        match described {
            Described::Session(session) => {
                let (ip, mut adopted) = (session.ip(), None);
                core.registry().add_session(ip, |id| {
                    let session = session.record(id);
                    let record = Arc::clone(&session.record);
                    adopted = Some(session);
                    record
                })?;
                worker.sessions.extend(adopted);
            }
            Described::Target(_) if *targets >= MAX_TARGETS => {
                return Err(Failure::peers(RRError::Limit, format!("more than {MAX_TARGETS} targets")));
            }
            Described::Target(target) => {
                let endpoint = target.about.endpoint(trusts)?;
                *targets += 1;
                of_worker.push((target, endpoint));
            }
            Described::Stream => worker.keep(body)?,
        }
        Ok(())
    }

    /// Lets the workers go on under this server. Returns the number of their sessions, and the streams without a worker.
    pub(super) fn begin_workers(&mut self) -> (usize, Vec<Arc<RRStream>>) {
        let (mut sessions, mut without) = (0, Vec::new());
        for isolated in std::mem::take(&mut self.isolated) {
            match isolated {
                Isolated { stream, is_new, worker: Some(worker), targets } if worker.is_complete() => {
                    let of_worker = worker.sessions.len();
                    match isolated::begin(self.core, (&stream, is_new), worker, targets) {
                        Ok(()) => sessions += of_worker,
                        Err(failure) => {
                            if is_new {
                                import::give_up_stream(self.core, &stream);
                            }
                            if !self.adopts {
                                let name = stream.masked_name();
                                log::error!("the process of {name} could not be taken over: {failure}");
                            }
                            self.failed = Some(failure);
                        }
                    }
                }
                // It had none, or the process that handed it over was killed in between, and then it ends too.
                isolated => {
                    without.push(Arc::clone(&isolated.stream));
                    isolated.give_up(self.core);
                }
            }
        }
        (sessions, without)
    }
}

fn nothing_runs() -> Failure {
    Failure::peers(RRError::Arg, "a part of a worker comes, and none is coming")
}
