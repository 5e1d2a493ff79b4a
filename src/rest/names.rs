//! Looks up names for the client, each name by one look-up at a time, whose result all get who have come meanwhile: a
//! rush of requests waits for one answer of DNS, not for one after another. A name whose DNS server does not answer
//! blocks only one of the threads, and no other name waits for it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tokio::sync::watch;
use tower::Service;

use crate::sync::locked;

/// Looks names up with a resolver; outside of tests it is the system's.
#[derive(Clone, Debug)]
pub(super) struct Names<R = GaiResolver> {
    resolver: R,
    /// For each name, its look-up that is running.
    running: Arc<HashMap<String, Mutex<Option<Running>>>>,
}

/// A look-up that is running: who waits for it gets what it finds.
type Running = watch::Receiver<Option<Found>>;

/// The addresses of a name, or the reason why there are none.
type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

impl<R> Names<R> {
    /// A resolver for these names.
    pub(super) fn new<'a>(resolver: R, names: impl Iterator<Item = &'a str>) -> Self {
        let running = names.map(|name| (name.to_owned(), Mutex::default())).collect();
        Self { resolver, running: Arc::new(running) }
    }
}

impl<R> Names<R>
where
    R: Service<Name, Error = io::Error> + Clone + Send + 'static,
    R::Response: Iterator<Item = SocketAddr> + Send + 'static,
    R::Future: Send + 'static,
{
    /// The look-up of a name: the one that is running, or a new one.
    fn look_up(&self, name: Name) -> Running {
        // Without its sender it has ended in a panic.
        let runs = |running: &Running| running.has_changed().is_ok();
        let mut place = self.running.get(name.as_str()).map(locked);
        if let Some(running) = place.as_deref().and_then(|place| place.as_ref().filter(|running| runs(running))) {
            return running.clone();
        }
        let (end, running) = watch::channel(None);
        if let Some(place) = &mut place {
            **place = Some(running.clone());
        }
        let (mut resolver, names) = (self.resolver.clone(), Arc::clone(&self.running));
        // It is a task of its own, because the caller may be gone while a thread still looks the name up.
        tokio::spawn(async move {
            let found = resolver.call(name.clone()).await;
            // Who comes from now on has another look-up.
            if let Some(place) = names.get(name.as_str()) {
                *locked(place) = None;
            }
            end.send_replace(Some(found.map(Iterator::collect).map_err(Arc::new)));
        });
        running
    }
}

impl<R> Service<Name> for Names<R>
where
    R: Service<Name, Error = io::Error> + Clone + Send + 'static,
    R::Response: Iterator<Item = SocketAddr> + Send + 'static,
    R::Future: Send + 'static,
{
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.resolver.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = self.clone();
        Box::pin(async move {
            let found = names.look_up(name).wait_for(Option::is_some).await.map_err(io::Error::other)?.clone();
            match found {
                Some(Ok(addresses)) => Ok(addresses.into_iter()),
                Some(Err(error)) => Err(io::Error::new(error.kind(), error)),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future;
    use std::time::Duration;

    use super::*;

    /// A resolver that never finds an address for names that begin with "dead", fails for those that begin with "no", and
    /// records the names that it is asked for. Each look-up takes a while.
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
            Box::pin(async move {
                tokio::task::yield_now().await;
                if name.as_str().starts_with("no") {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "no such name"));
                }
                Ok(vec![SocketAddr::from(([192, 0, 2, 1], 80))].into_iter())
            })
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

    #[test]
    fn all_who_ask_for_a_name_at_once_have_one_look_up_and_who_comes_later_another() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let asked = Scripted::default();
        let names = Names::new(asked.clone(), ["live.test", "no.test"].into_iter());
        let rush = |name: &str| {
            let look_ups: Vec<_> = (0..100).map(|_| names.clone().call(name.parse().unwrap())).collect();
            runtime.block_on(futures_util::future::join_all(look_ups))
        };
        for _ in 0..2 {
            assert!(rush("live.test").into_iter().all(|found| found.unwrap().count() == 1));
        }
        let failed = |found: io::Result<_>| found.map(drop).unwrap_err().to_string();
        assert!(rush("no.test").into_iter().all(|found| failed(found) == "no such name"));
        assert_eq!(*locked(&asked.0), ["live.test", "live.test", "no.test"]);
    }
}
