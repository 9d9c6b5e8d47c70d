//! Answers on their way out: what one takes stays in the account of its question until the client
//! has read it, so that slow clients with large answers cannot hold more than the budget of all
//! questions.
//!
//! A handler hands its answer to [`charge`]; the outermost layer, which may still pack it, ends with
//! [`Charged::hold`], which ties the account to the body. The body gives it back when it is dropped.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use vigie_engine::Ticket;
use vigie_promql::Account;

/// The account that pays for an answer, as an extension of the answer.
#[derive(Clone)]
pub(crate) struct Charged(Arc<Account>);

/// Charges a question for its answer, and for nothing else any more: what it held is free.
pub(crate) fn charge(mut answer: Response<Body>, ticket: &Ticket) -> Response<Body> {
    let charged = Charged(ticket.account().clone());
    charged.settle(&answer);
    answer.extensions_mut().insert(charged);
    answer
}

impl Charged {
    fn settle(&self, answer: &Response<Body>) {
        self.0.settle(answer.body().size_hint().lower());
    }

    /// Keeps the account as long as the body.
    pub(crate) fn hold(self, answer: Response<Body>) -> Response<Body> {
        self.settle(&answer);
        answer.map(|body| Body::new(Paid { body, _account: self.0 }))
    }
}

struct Paid {
    body: Body,
    _account: Arc<Account>,
}

impl HttpBody for Paid {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        // Said early, the body would be dropped while its bytes wait in the connection.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_engine::{About, Detail, Queries};

    #[test]
    fn an_answer_is_paid_for_until_its_body_is_gone() {
        let queries = Arc::new(Queries::default());
        let ticket = queries.ask(About::default(), Detail::default()).unwrap();
        let question_bytes = queries.stats().held_bytes;
        let held_bytes = || queries.stats().held_bytes - question_bytes;
        let mut answer = charge(Response::new(Body::from(vec![b'a'; 5000])), &ticket);
        drop(ticket);
        assert_eq!(held_bytes(), 5000);
        let charged = answer.extensions_mut().remove::<Charged>().unwrap();
        // Packed meanwhile.
        let answer = charged.hold(Response::new(Body::from(vec![b'a'; 70])));
        assert_eq!(held_bytes(), 70);
        assert_eq!(answer.body().size_hint().exact(), Some(70));
        drop(answer);
        assert_eq!(queries.stats().held_bytes, 0);
    }
}
