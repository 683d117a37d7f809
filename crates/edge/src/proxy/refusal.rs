//! What a request is answered that goes to no endpoint.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE,
};
use hyper::{Response, StatusCode};

/// An answer of the proxy's own.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    /// One line.
    pub reason: Cow<'static, str>,
    pub retry_after_s: Option<u32>,
    /// Instead of the line.
    page: Option<Arc<str>>,
    /// Nothing more is read of this connection.
    close: bool,
    /// Where to go, and the cookie to take along.
    goes_to: Option<(String, String)>,
}

impl Refusal {
    pub fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            status,
            reason: reason.into(),
            retry_after_s: None,
            page: None,
            close: false,
            goes_to: None,
        }
    }

    /// It can't be read, or in more than one way.
    pub fn malformed(reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { close: true, ..Refusal::new(StatusCode::BAD_REQUEST, reason) }
    }

    pub fn later(status: StatusCode, reason: impl Into<Cow<'static, str>>, retry_after_s: u32) -> Refusal {
        Refusal { retry_after_s: Some(retry_after_s), ..Refusal::new(status, reason) }
    }

    pub fn closing(self) -> Refusal {
        Refusal { close: true, ..self }
    }

    /// A page instead of a line.
    pub fn page(status: StatusCode, page: Arc<str>) -> Refusal {
        Refusal { page: Some(page), ..Refusal::new(status, "") }
    }

    /// Not refused at all: here is a cookie, go there.
    pub fn goes_to(place: String, cookie: String) -> Refusal {
        Refusal { goes_to: Some((place, cookie)), ..Refusal::new(StatusCode::SEE_OTHER, "") }
    }

    /// As an answer of HTTP/1, or of HTTP/2.
    pub fn answer(self, http2: bool) -> Response<Bytes> {
        let (kind, body) = match self.page {
            Some(page) => ("text/html; charset=utf-8", Bytes::copy_from_slice(page.as_bytes())),
            None => ("text/plain; charset=utf-8", Bytes::from(format!("{}\n", self.reason))),
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(after));
        }
        if self.close && !http2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some((place, cookie)) = self.goes_to {
            let (place, cookie) = (HeaderValue::try_from(place), HeaderValue::try_from(cookie));
            if let (Ok(place), Ok(cookie)) = (place, cookie) {
                headers.insert(LOCATION, place);
                headers.insert(SET_COOKIE, cookie);
            }
        }
        answer
    }
}
