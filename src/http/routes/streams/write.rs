//! `PUT` makes a stream, `POST` appends to one or closes it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::{
    PATH_PREFIX, PRODUCER_EPOCH, PRODUCER_SEQ, STREAM_CLOSED, STREAM_NEXT_OFFSET, TRUE, describe,
    insert, number, refused, stream_id,
};
use crate::access::Caller;
use crate::http::access::caller_of;
use crate::http::body::{self, ReceivedBody};
use crate::http::error::Rejection;
use crate::service::Service;
use dialect::failure::Failure;
use stream::{
    Append, Create, Created, Creation, ForkAt, ForkOf, Lifetime, ProducerClaim, StreamId,
    StreamRejection,
};

const PRODUCER_ID: &str = "producer-id";
const STREAM_SEQ: &str = "stream-seq";
const STREAM_FORKED_FROM: &str = "stream-forked-from";
const STREAM_FORK_OFFSET: &str = "stream-fork-offset";
const STREAM_FORK_SUB_OFFSET: &str = "stream-fork-sub-offset";

/// The longest text of a header that a stream remembers.
const MAX_HEADER_LENGTH: usize = 256;
/// The largest number that every client can count to.
const MAX_NUMBER: u64 = (1 << 53) - 1;
/// A hundred years: more is a mistake, and some clock's end.
const MAX_TTL_SECONDS: u64 = 100 * 366 * 24 * 3600;

/// `PUT`: makes a stream, or finds it as it is asked for.
pub(super) async fn put(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Rejection> {
    let id = stream_id(path)?;
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    body::uncompressed(headers)?;
    let mut create = Create {
        owner: None,
        content_type: content_type(headers)?,
        lifetime: lifetime(headers)?,
        closed: is_closed(headers),
        fork: fork(headers)?,
        body: bytes::Bytes::new(),
    };
    let ReceivedBody { bytes, permit } = body::read_body(body, &service).await?;
    create.body = bytes;
    let caller = caller_of(&parts);
    let created = make(&service, create, &id, &caller).await?;
    drop(permit);
    let mut response = if created.new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
    .into_response();
    describe(response.headers_mut(), &created.head, created.head.tail());
    if created.head.end.is_some() {
        response.headers_mut().insert(STREAM_CLOSED, TRUE);
    }
    if created.new {
        insert(response.headers_mut(), LOCATION, &location(&parts, &id));
    }
    Ok(response)
}

/// Makes a stream, unless it is there.
async fn make(
    service: &Service,
    create: Create,
    id: &StreamId,
    caller: &Caller,
) -> Result<Created, Rejection> {
    let refused = |refusal| match refusal {
        // The name is taken, and that is all that matters here.
        StreamRejection::Deleted => Rejection::from(Failure::conflict(refusal.to_string())),
        refusal => refused(refusal),
    };
    let (streams, owner) = (&service.streams, caller.owner());
    match create.look(streams, id, owner).await.map_err(refused)? {
        Creation::Found(head) => Ok(Created {
            head: *head,
            new: false,
        }),
        Creation::New(new) => {
            let size = new.size();
            let parse = move || (new.records(), new);
            let (records, new) = service.compute.run(size, parse).await?;
            let records = records.map_err(refused)?;
            let created = new.create(streams, id, owner, records).await;
            created.map_err(refused)
        }
    }
}

/// `POST`: appends, or closes, or both in one step.
pub(super) async fn post(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Rejection> {
    let id = stream_id(path)?;
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    body::uncompressed(headers)?;
    let (claim, seq) = (claim(headers)?, text(headers, STREAM_SEQ)?);
    let ReceivedBody { bytes, permit } = body::read_body(body, &service).await?;
    let content_type = content_type(headers)?;
    if content_type.is_none() && !bytes.is_empty() {
        let message = "the body's type is missing; it should be the stream's";
        return Err(Failure::invalid("content-type", message).into());
    }
    let size = bytes.len();
    let parse = move || Append::new(content_type.as_deref().unwrap_or_default(), bytes);
    let mut append = service.compute.run(size, parse).await?;
    append.close = is_closed(headers);
    append.seq = seq;
    append.claim = claim;
    let caller = caller_of(&parts);
    let done = service
        .streams
        .update(&id, caller.owner(), |head| append.apply(head))
        .await;
    let done = match done {
        // Whether it has forks still is not the append's to know.
        Err(StreamRejection::Deleted) => match service.streams.status(&id, caller.owner()).await {
            Ok(_) => return Err(refused(StreamRejection::Deleted)),
            Err(refusal) => return Err(refused(refusal)),
        },
        done => done.map_err(refused)?,
    };
    drop(permit);
    let appended = done.fresh && append.records.is_some();
    let status = if appended && append.claim.is_some() {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    };
    let mut response = status.into_response();
    let headers = response.headers_mut();
    insert(headers, STREAM_NEXT_OFFSET, &done.tail.to_string());
    if done.closed {
        headers.insert(STREAM_CLOSED, TRUE);
    }
    if let (Some(claim), Some(seq)) = (&append.claim, done.seq) {
        headers.insert(PRODUCER_EPOCH, number(claim.epoch));
        headers.insert(PRODUCER_SEQ, number(seq));
    }
    Ok(response)
}

/// A header's text; an empty one is none.
fn text(headers: &HeaderMap, name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if text.len() <= MAX_HEADER_LENGTH => {
            Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
        }
        _ => Err(Failure::invalid(
            name,
            format!("`{name}` should be at most {MAX_HEADER_LENGTH} characters of ASCII"),
        )),
    }
}

/// The body's type, as it came.
fn content_type(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let name = CONTENT_TYPE.as_str();
    match text(headers, name)? {
        Some(text)
            if !text
                .split(';')
                .next()
                .is_some_and(|media_type| media_type.contains('/')) =>
        {
            Err(Failure::invalid(
                name,
                "`content-type` should be a media type such as `application/json`",
            ))
        }
        found => Ok(found),
    }
}

/// Only `true` says so; anything else is as good as nothing.
fn is_closed(headers: &HeaderMap) -> bool {
    headers
        .get(STREAM_CLOSED)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// A whole number as one writes it by hand: digits, and no nought in front.
fn whole(name: &str, text: &str, most: u64) -> Result<u64, Failure> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    let number = text.parse().ok().filter(|number| plain && *number <= most);
    number.ok_or_else(|| {
        Failure::invalid(
            name,
            format!("`{name}` should be a whole number from 0 to {most}"),
        )
    })
}

fn claim(headers: &HeaderMap) -> Result<Option<ProducerClaim>, Failure> {
    let (epoch, seq) = ("producer-epoch", "producer-seq");
    if ![PRODUCER_ID, epoch, seq]
        .iter()
        .any(|name| headers.contains_key(*name))
    {
        return Ok(None);
    }
    let value = |name: &str| {
        let missing = || {
            let message = format!(
                "`{name}` is missing: `producer-id`, `producer-epoch` and `producer-seq` come together"
            );
            Failure::invalid(name, message)
        };
        text(headers, name)?.ok_or_else(missing)
    };
    Ok(Some(ProducerClaim {
        id: value(PRODUCER_ID)?.into(),
        epoch: whole(epoch, &value(epoch)?, MAX_NUMBER)?,
        seq: whole(seq, &value(seq)?, MAX_NUMBER)?,
    }))
}

fn lifetime(headers: &HeaderMap) -> Result<Option<Lifetime>, Failure> {
    let (ttl, expires_at) = ("stream-ttl", "stream-expires-at");
    match (headers.get(ttl), text(headers, expires_at)?) {
        (Some(_), Some(_)) => Err(Failure::invalid(
            ttl,
            "`stream-ttl` and `stream-expires-at`: it can be only one",
        )),
        (Some(value), None) => {
            let seconds = whole(
                ttl,
                &String::from_utf8_lossy(value.as_bytes()),
                MAX_TTL_SECONDS,
            )?;
            Ok(Some(Lifetime::Idle(Duration::from_secs(seconds))))
        }
        (None, Some(time)) => match rfc3339(&time) {
            Some(time) => Ok(Some(Lifetime::Until(time))),
            None => {
                let message = "`stream-expires-at` should be a time such as `2030-01-31T12:00:00Z` (RFC 3339)";
                Err(Failure::invalid(expires_at, message))
            }
        },
        (None, None) => Ok(None),
    }
}

/// A time of RFC 3339, in any zone; one that can be written so again, too.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let last = humantime::parse_rfc3339("9999-12-31T23:59:59Z").ok()?;
    any_zone(text).filter(|time| (SystemTime::UNIX_EPOCH..=last).contains(time))
}

fn any_zone(text: &str) -> Option<SystemTime> {
    if let Some(utc) = text.strip_suffix(['Z', 'z']) {
        return humantime::parse_rfc3339(&format!("{utc}Z")).ok();
    }
    let (time, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let pair = |text: &str, most: u64| {
        let fine = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>()
            .ok()
            .filter(|number| fine && *number <= most)
    };
    let ahead = Duration::from_secs(60 * (60 * pair(hours, 23)? + pair(minutes, 59)?));
    let time = humantime::parse_rfc3339(&format!("{time}Z")).ok()?;
    match zone.chars().next()? {
        '+' => time.checked_sub(ahead),
        '-' => time.checked_add(ahead),
        _ => None,
    }
}

fn fork(headers: &HeaderMap) -> Result<Option<ForkOf>, Failure> {
    let Some(source) = text(headers, STREAM_FORKED_FROM)? else {
        return match [STREAM_FORK_OFFSET, STREAM_FORK_SUB_OFFSET]
            .iter()
            .find(|name| headers.contains_key(**name))
        {
            Some(name) => Err(Failure::invalid(
                name,
                format!("`{name}` needs `stream-forked-from`"),
            )),
            None => Ok(None),
        };
    };
    let source = source
        .strip_prefix(PATH_PREFIX)
        .and_then(StreamId::from_client)
        .ok_or_else(|| {
            let message =
                format!("`{STREAM_FORKED_FROM}` should be the path of a stream: {PATH_PREFIX}…");
            Failure::invalid(STREAM_FORKED_FROM, message)
        })?;
    let at = match text(headers, STREAM_FORK_OFFSET)?.as_deref() {
        None => ForkAt::Tail,
        // The start of any stream, for who has not read it.
        Some("-1") => ForkAt::Start,
        Some(zero) if zero.bytes().all(|byte| matches!(byte, b'0' | b'_')) => ForkAt::Start,
        Some(offset) => ForkAt::Offset(offset.parse().map_err(|_| refusal_of_offset())?),
    };
    let sub = match headers.get(STREAM_FORK_SUB_OFFSET) {
        Some(value) => whole(
            STREAM_FORK_SUB_OFFSET,
            &String::from_utf8_lossy(value.as_bytes()),
            MAX_NUMBER,
        )?,
        None => 0,
    };
    Ok(Some(ForkOf { source, at, sub }))
}

fn refusal_of_offset() -> Failure {
    Failure::invalid(STREAM_FORK_OFFSET, StreamRejection::ForkOffset.to_string())
}

/// The stream's address, as its client knows this server.
fn location(parts: &Parts, id: &StreamId) -> String {
    let path = format!("{PATH_PREFIX}{id}");
    let host = parts.uri.authority().map(|authority| authority.as_str());
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let Some(host) = host.or_else(|| header(HOST.as_str())) else {
        return path;
    };
    let scheme = match header("x-forwarded-proto").or_else(|| parts.uri.scheme_str()) {
        Some("https") => "https",
        _ => "http",
    };
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_any_zone() {
        let noon = rfc3339("2030-01-31T12:00:00Z");
        assert!(noon.is_some());
        assert_eq!(rfc3339("2030-01-31T14:30:00+02:30"), noon);
        assert_eq!(rfc3339("2030-01-31T04:00:00.000-08:00"), noon);
        for wrong in [
            "",
            "tomorrow",
            "2030-01-31",
            "2030-01-31T12:00:00",
            "2030-01-31T12:00:00+2:00",
            "2030-01-31T12:00:00é00:00",
            "9999-12-31T23:59:59-00:01",
            "1970-01-01T00:00:00+00:01",
        ] {
            assert_eq!(rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_number_is_spelled_in_one_way() {
        assert_eq!(whole("n", "0", 9).ok(), Some(0));
        assert_eq!(whole("n", "9", 9).ok(), Some(9));
        for wrong in [
            "",
            "10",
            "09",
            "+1",
            "-1",
            "1.0",
            "1e0",
            " 1",
            "99999999999999999999999",
        ] {
            assert!(whole("n", wrong, 9).is_err(), "{wrong}");
        }
    }
}
