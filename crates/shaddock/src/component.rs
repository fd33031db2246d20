//! Parts of an application with a start and a stop.

use std::fmt::Debug;
use std::future::Future;

use futures_util::future::BoxFuture;

use crate::app::AppHandle;
use crate::error::Result;

/// A part of an application, or of one server, that starts, works, and stops when told.
///
/// Components start one after another in the order they were given, and stop in the reverse order.
/// One that fails to start stops the start.
///
/// # Examples
///
/// ```
/// use shaddock::{AppHandle, Component, Result};
///
/// /// Counts the seconds.
/// struct Clock;
///
/// impl Component for Clock {
///     async fn start(&self, app: &AppHandle) -> Result<()> {
///         app.tasks().spawn("clock", async |stop| {
///             let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
///             while stop.run_until_cancelled(tick.tick()).await.is_some() {}
///         });
///         Ok(())
///     }
/// }
/// ```
pub trait Component: Send + Sync + 'static {
    /// Starts, before any server can be reached.
    fn start(&self, app: &AppHandle) -> impl Future<Output = Result<()>> + Send {
        let _ = app;
        async { Ok(()) }
    }

    /// Runs when every server of the process can be reached.
    fn after_start(&self, app: &AppHandle) -> impl Future<Output = Result<()>> + Send {
        let _ = app;
        async { Ok(()) }
    }

    /// Runs when the application is about to stop and everything still works: the place for a last word.
    fn before_stop(&self, app: &AppHandle) -> impl Future<Output = ()> + Send {
        let _ = app;
        async {}
    }

    /// Stops, when all servers have.
    fn stop(&self, app: &AppHandle) -> impl Future<Output = ()> + Send {
        let _ = app;
        async {}
    }
}

/// The object-safe twin of [`Component`].
pub(crate) trait DynComponent: Send + Sync {
    fn name(&self) -> &'static str;
    fn start<'a>(&'a self, app: &'a AppHandle) -> BoxFuture<'a, Result<()>>;
    fn after_start<'a>(&'a self, app: &'a AppHandle) -> BoxFuture<'a, Result<()>>;
    fn before_stop<'a>(&'a self, app: &'a AppHandle) -> BoxFuture<'a, ()>;
    fn stop<'a>(&'a self, app: &'a AppHandle) -> BoxFuture<'a, ()>;
}

impl<C: Component> DynComponent for C {
    fn name(&self) -> &'static str {
        std::any::type_name::<C>()
    }

    fn start<'a>(&'a self, app: &'a AppHandle) -> BoxFuture<'a, Result<()>> {
        Box::pin(Component::start(self, app))
    }

    fn after_start<'a>(&'a self, app: &'a AppHandle) -> BoxFuture<'a, Result<()>> {
        Box::pin(Component::after_start(self, app))
    }

    fn before_stop<'a>(&'a self, app: &'a AppHandle) -> BoxFuture<'a, ()> {
        Box::pin(Component::before_stop(self, app))
    }

    fn stop<'a>(&'a self, app: &'a AppHandle) -> BoxFuture<'a, ()> {
        Box::pin(Component::stop(self, app))
    }
}

impl Debug for dyn DynComponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Component({})", self.name())
    }
}
