//! Which request led to which: W3C Trace Context (<https://www.w3.org/TR/trace-context/>).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The header that carries the context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header that carries what tracing systems add to it; handed on as it is.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// A longer `tracestate` may be dropped (Trace Context, section 3.3.1.5).
const TRACESTATE_LIMIT_BYTES: usize = 512;

/// A place in a trace: the request of a client, and what is done for it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// The beginning of a trace.
    #[must_use]
    pub fn root() -> Self {
        Self { trace_id: random_u128(), span_id: random_u64(), flags: 0, state: None }
    }

    /// What is done here for a request with these headers: the trace goes on, or begins.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::of_caller(headers).map_or_else(Self::root, |caller| caller.child())
    }

    /// Where a request with these headers was made; `None` if they do not say.
    #[must_use]
    pub fn of_caller(headers: &HeaderMap) -> Option<Self> {
        let caller = Self::parse(headers.get(TRACEPARENT)?.to_str().ok()?)?;
        let state = headers.get(TRACESTATE).filter(|state| state.len() <= TRACESTATE_LIMIT_BYTES).cloned();
        Some(Self { state, ..caller })
    }

    /// The place that the value of a `traceparent` names; `None` if it is to be ignored.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let (trace_id, span_id, flags) = parse(traceparent)?;
        Some(Self { trace_id, span_id, flags, state: None })
    }

    /// What is done for what is done here.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: random_u64(), ..self.clone() }
    }

    /// The place of a span that is a child of this one, if it has a parent.
    pub(crate) fn of_span(span: &SpanContext, parent: Option<&Self>) -> Self {
        Self {
            trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(span.span_id().to_bytes()),
            flags: span.trace_flags().to_u8(),
            state: parent.and_then(|parent| parent.state.clone()),
        }
    }

    /// The same as OpenTelemetry has it. `is_remote` says that it is a place in another process.
    pub(crate) fn span_context(&self, is_remote: bool) -> SpanContext {
        let state = self.state.as_ref().and_then(|state| state.to_str().ok()?.parse::<TraceState>().ok());
        SpanContext::new(
            TraceId::from_bytes(self.trace_id.to_be_bytes()),
            SpanId::from_bytes(self.span_id.to_be_bytes()),
            TraceFlags::new(self.flags),
            is_remote,
            state.unwrap_or_default(),
        )
    }

    /// Puts the context into the headers of a request that is made for this one.
    pub fn inject(&self, headers: &mut HeaderMap) {
        // Always ASCII.
        if let Ok(value) = HeaderValue::try_from(self.traceparent()) {
            headers.insert(TRACEPARENT, value);
        }
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    }

    /// The identity of the whole trace, as 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The identity of what is done here, as 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }

    /// The header's value.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Trace, span and flags of a header's value; `None` if it is to be ignored.
fn parse(value: &str) -> Option<(u128, u64, u8)> {
    let mut parts = value.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let version = hexadecimal(version, 2)?;
    // A later version may have more parts, this one may not.
    if version == 0xff || version == 0 && parts.next().is_some() {
        return None;
    }
    let trace_id = hexadecimal(trace, 32).filter(|id| *id != 0)?;
    let span_id = u64::try_from(hexadecimal(span, 16)?).ok().filter(|id| *id != 0)?;
    let flags = u8::try_from(hexadecimal(flags, 2)?).ok()?;
    // Of the flags only "sampled" is defined.
    Some((trace_id, span_id, flags & 1))
}

fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let is_lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != digits || !is_lower {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

fn random_u128() -> u128 {
    loop {
        let id: u128 = rand::random();
        if id != 0 {
            return id;
        }
    }
}

fn random_u64() -> u64 {
    loop {
        let id: u64 = rand::random();
        if id != 0 {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(value: &str) -> TraceContext {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        TraceContext::from_headers(&headers)
    }

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_goes_on_under_a_new_span() {
        let context = from(&format!("00-{TRACE}-00f067aa0ba902b7-01"));
        assert_eq!(context.trace_id(), TRACE);
        assert_ne!(context.span_id(), "00f067aa0ba902b7");
        let mut headers = HeaderMap::new();
        context.inject(&mut headers);
        assert_eq!(headers[TRACEPARENT], format!("00-{TRACE}-{}-01", context.span_id()).as_str());
    }

    #[test]
    fn a_place_is_the_same_for_opentelemetry() {
        let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let place = TraceContext::parse(&traceparent).unwrap();
        assert_eq!(place.traceparent(), traceparent);
        let span = place.span_context(true);
        assert_eq!(span.trace_id().to_string(), TRACE);
        assert_eq!(span.span_id().to_string(), "00f067aa0ba902b7");
        assert!(span.is_sampled() && span.is_remote());
        assert_eq!(TraceContext::of_span(&span, None), place);
    }

    #[test]
    fn what_is_no_context_begins_a_trace() {
        for value in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert_ne!(from(value).trace_id(), TRACE, "{value}");
        }
        // A later version may have more parts.
        assert_eq!(from(&format!("01-{TRACE}-00f067aa0ba902b7-01-more")).trace_id(), TRACE);
    }
}
