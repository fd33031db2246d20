//! What stands around handlers and remotes: filters.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Reply, Request, Run};
use crate::error::Result;

/// Stands around handlers or remotes: sees the request before and the reply after, in one function.
///
/// # Examples
///
/// ```
/// use shaddock::{Fault, Next, Reply, Request, Result};
///
/// async fn members_only(request: Request, next: Next) -> Result<Reply> {
///     if request.session()?.find_uid().is_none() {
///         return Err(Fault::new(401, "not logged in"));
///     }
///     next.run(request).await
/// }
/// # fn is_a_filter(_: impl shaddock::Filter) {}
/// # is_a_filter(members_only);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a filter",
    label = "not a filter",
    note = "a filter is an `async fn(Request, Next) -> Result<Reply>`"
)]
pub trait Filter: Send + Sync + 'static {
    /// Answers a request, as a rule by passing it on.
    fn call(
        &self,
        request: Request,
        next: Next,
    ) -> impl Future<Output = Result<Reply>> + Send + 'static;
}

impl<F, Fut> Filter for F
where
    F: Fn(Request, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Reply>> + Send + 'static,
{
    fn call(
        &self,
        request: Request,
        next: Next,
    ) -> impl Future<Output = Result<Reply>> + Send + 'static {
        self(request, next)
    }
}

/// The object-safe twin of [`Filter`].
pub(crate) trait Around: Send + Sync {
    fn call(&self, request: Request, next: Next) -> BoxFuture<'static, Result<Reply>>;
}

impl<F: Filter> Around for F {
    fn call(&self, request: Request, next: Next) -> BoxFuture<'static, Result<Reply>> {
        Box::pin(Filter::call(self, request, next))
    }
}

/// Filters in the order they stand, the outermost first.
pub(crate) type Filters = Arc<[Arc<dyn Around>]>;

/// The rest of the way to the handler.
pub struct Next {
    filters: Filters,
    passed: usize,
    end: Arc<dyn Run>,
}

impl Next {
    /// Goes on, and gives what comes back.
    ///
    /// # Errors
    ///
    /// What the handler or a filter on the way returned.
    pub fn run(mut self, request: Request) -> BoxFuture<'static, Result<Reply>> {
        match self.filters.get(self.passed).cloned() {
            Some(filter) => {
                self.passed += 1;
                filter.call(request, self)
            }
            None => self.end.run(request),
        }
    }
}

impl std::fmt::Debug for Next {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").field("left", &(self.filters.len() - self.passed)).finish()
    }
}

/// Sends a request through the filters to the end of the way.
pub(crate) fn through(
    filters: &Filters,
    end: &Arc<dyn Run>,
    request: Request,
) -> BoxFuture<'static, Result<Reply>> {
    if filters.is_empty() {
        return end.run(request);
    }
    Next { filters: filters.clone(), passed: 0, end: end.clone() }.run(request)
}
