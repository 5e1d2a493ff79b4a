//! Looks up names for the client, each name by one look-up at a time: a name whose DNS server does not answer blocks
//! only one of the threads, and no other name waits for it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tokio::sync::Semaphore;
use tower::Service;

/// Looks names up with a resolver; outside of tests it is the system's.
#[derive(Clone, Debug)]
pub(super) struct Names<R = GaiResolver> {
    resolver: R,
    /// For each name, the permit of its look-up.
    turns: Arc<HashMap<String, Arc<Semaphore>>>,
}

impl<R> Names<R> {
    /// A resolver for these names.
    pub(super) fn new<'a>(resolver: R, names: impl Iterator<Item = &'a str>) -> Self {
        let turns = names.map(|name| (name.to_owned(), Arc::new(Semaphore::new(1)))).collect();
        Self { resolver, turns: Arc::new(turns) }
    }
}

impl<R> Service<Name> for Names<R>
where
    R: Service<Name, Error = io::Error> + Clone + Send + 'static,
    R::Response: Iterator<Item = SocketAddr> + Send + 'static,
    R::Future: Send + 'static,
{
    type Response = R::Response;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<R::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.resolver.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let mut resolver = self.resolver.clone();
        let turn = self.turns.get(name.as_str()).cloned();
        Box::pin(async move {
            let turn = match turn {
                Some(turn) => Some(turn.acquire_owned().await.map_err(io::Error::other)?),
                None => None,
            };
            // The look-up is a task of its own, because the caller may be gone while a thread still looks the name up.
            let look_up = async move {
                let found = resolver.call(name).await;
                drop(turn);
                found
            };
            tokio::spawn(look_up).await.map_err(io::Error::other)?
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::sync::locked;

    /// A resolver that never finds an address for names that begin with "dead", and records the names that it is asked
    /// for.
    #[derive(Clone, Default)]
    struct Scripted(Arc<Mutex<Vec<String>>>);

    impl Service<Name> for Scripted {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, name: Name) -> Self::Future {
            locked(&self.0).push(name.as_str().to_owned());
            if name.as_str().starts_with("dead") {
                return Box::pin(future::pending());
            }
            Box::pin(async { Ok(vec![SocketAddr::from(([192, 0, 2, 1], 80))].into_iter()) })
        }
    }

    #[test]
    fn a_name_that_is_not_found_for_ever_takes_one_look_up_also_where_everybody_who_asked_has_gone() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asked = Scripted::default();
        let names = Names::new(asked.clone(), ["dead.test", "live.test"].into_iter());
        let look_up = |name: &str| names.clone().call(name.parse().unwrap());
        runtime.block_on(async {
            for _ in 0..20 {
                let looked_up = tokio::time::timeout(Duration::from_millis(5), look_up("dead.test")).await;
                assert!(looked_up.is_err(), "it is dead");
            }
            for _ in 0..2 {
                assert_eq!(look_up("live.test").await.unwrap().count(), 1);
            }
        });
        assert_eq!(*locked(&asked.0), ["dead.test", "live.test", "live.test"]);
    }
}
