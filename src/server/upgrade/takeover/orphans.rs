//! A worker that has lost its server goes on under this one: it says of itself what another server would hand over, and is
//! checked in the same way.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Entering;
use crate::error::Result;
use crate::server::core::Core;
use crate::stream::process::orphan::Orphan;

/// Takes over a worker that serves this server alone from now on.
///
/// # Errors
/// Those of [`Entering::take`]; then this server has nothing of it, and it waits for another try. Those with which it cannot
/// go on here, of which others have heard; then it has ended.
pub(in crate::server) fn adopt(core: &Arc<Core>, orphan: Orphan, process: OwnedFd) -> Result<()> {
    let Orphan { record, description, channel } = orphan;
    let mut entering = Entering::new(core);
    entering.adopts = true;
    entering.take_isolated(&record)?;
    description.into_iter().try_for_each(|report| entering.take_report(report))?;
    entering.worker()?.take_process(process)?;
    entering.worker()?.take_channel(channel.into_fd())?;
    let (_, sessions) = entering.begin();
    match entering.failed.take() {
        Some(failure) => Err(failure),
        None => {
            log::info!("a stream whose server had ended goes on here, with {sessions} sessions");
            Ok(())
        }
    }
}
