//! List files over HTTP: asked for only where they changed, streamed to where the caller says, bounded in size and time, and whole or
//! refused. What is in them is for `lists` to say.

use std::io::Write;
use std::time::Duration;

use alloy::transports::http::reqwest;
use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{StatusCode, Version};
use sha2::{Digest, Sha256};
use url::Url;

use super::call::{chain_of, redact};

/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// To find the server at all.
const CONNECT: Duration = Duration::from_secs(15);

/// What to fetch.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// http or https.
    pub url: &'a str,
    /// What the server called the file that is held: it is sent again only where it is another one.
    pub etag: Option<&'a str>,
    /// The same by date, as the server wrote it.
    pub last_modified: Option<&'a str>,
    /// More bytes are refused.
    pub most: u64,
    /// No byte for that long: given up.
    pub idle: Duration,
    /// All of it takes longer: given up.
    pub whole: Duration,
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// What is held is what it has.
    NotChanged,
    /// Another file, which was written out whole.
    File(FetchedFile),
}

/// A file that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// How many bytes.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
    /// What the server calls it.
    pub etag: Option<String>,
    /// When it last changed, as the server wrote it.
    pub last_modified: Option<String>,
    /// The answer said where it ends. Without, a connection that was cut looks like the end.
    pub ends_told: bool,
}

/// Why no file came. No part of the URL but its host is in it.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// It is no URL, or of another kind.
    #[error("{0} is no URL of a list: write one that begins with https:// or http://")]
    BadUrl(String),
    /// The server does not give it.
    #[error("{host} answered HTTP status {status}")]
    Status {
        /// Who.
        host: String,
        /// What.
        status: u16,
    },
    /// It is larger than it may be.
    #[error("the file at {host} is larger than {most} bytes (max_mb in bolo.toml): refused")]
    TooLarge {
        /// Whose.
        host: String,
        /// The limit.
        most: u64,
    },
    /// It led somewhere else too often, or where it may not.
    #[error("{host} redirects in a way that is not followed: {reason}")]
    Redirected {
        /// Who.
        host: String,
        /// Where to.
        reason: String,
    },
    /// It answers with something that was not asked for.
    #[error("{host} {reason}")]
    Odd {
        /// Who.
        host: String,
        /// What.
        reason: String,
    },
    /// The connection failed, or ended before the file did.
    #[error("{host} {reason}")]
    Broken {
        /// Whose.
        host: String,
        /// How.
        reason: String,
    },
    /// The file cannot be kept.
    #[error("the downloaded file cannot be written: {0}")]
    Disk(std::io::Error),
}

impl DownloadError {
    /// Whether it may be good another time.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Broken { .. } | Self::Disk(_) => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::BadUrl(_) | Self::TooLarge { .. } | Self::Redirected { .. } | Self::Odd { .. } => false,
        }
    }
}

/// Host and port of a URL, which is all of it that may be shown.
pub fn shown_host(url: &str) -> String {
    super::call::host_of(url)
}

/// Whether lists can be fetched from there.
///
/// # Errors
/// [`DownloadError::BadUrl`].
pub fn check_list_url(url: &str) -> Result<(), DownloadError> {
    list_url(url).map(|_| ())
}

fn list_url(url: &str) -> Result<Url, DownloadError> {
    crate::redact::register_url(url);
    let bad = || DownloadError::BadUrl(shown_host(url));
    let parsed = Url::parse(url).map_err(|_| bad())?;
    if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() { Ok(parsed) } else { Err(bad()) }
}

/// Fetches a file into `out`. It is there whole only where this returns [`Fetched::File`].
///
/// # Errors
/// [`DownloadError`].
pub async fn download(wanted: &Wanted<'_>, out: &mut impl Write) -> Result<Fetched, DownloadError> {
    let url = list_url(wanted.url)?;
    let host = shown_host(wanted.url);
    match tokio::time::timeout(wanted.whole, fetch(wanted, url, &host, out)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let reason = format!("took longer than {} s for the file", wanted.whole.as_secs_f64());
            Err(DownloadError::Broken { host, reason })
        }
    }
}

/// Follows so far, and never from https to http: what comes then anybody on the way could have written.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_safe = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > REDIRECTS {
        attempt.error(format!("more than {REDIRECTS} redirects"))
    } else if was_safe && attempt.url().scheme() != "https" {
        attempt.error("from https to http")
    } else {
        attempt.follow()
    }
}

async fn fetch(wanted: &Wanted<'_>, url: Url, host: &str, out: &mut impl Write) -> Result<Fetched, DownloadError> {
    let failed = |error: reqwest::Error| failure(error, wanted, host);
    let client = super::http::client_builder()
        .user_agent(concat!("bolo/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(follow))
        // The URL, with its key, is nothing to tell another server.
        .referer(false)
        .connect_timeout(CONNECT.min(wanted.idle))
        .read_timeout(wanted.idle)
        .build()
        .map_err(failed)?;
    let mut request = client.get(url).header(header::ACCEPT_ENCODING, "identity");
    for (name, value) in [(header::IF_NONE_MATCH, wanted.etag), (header::IF_MODIFIED_SINCE, wanted.last_modified)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    let mut response = request.send().await.map_err(failed)?;
    let odd = |reason: String| DownloadError::Odd { host: host.to_owned(), reason };
    let conditional = wanted.etag.is_some() || wanted.last_modified.is_some();
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if conditional => return Ok(Fetched::NotChanged),
        StatusCode::NOT_MODIFIED => return Err(odd("says that it has nothing newer, and was not asked so".to_owned())),
        other => return Err(DownloadError::Status { host: host.to_owned(), status: other.as_u16() }),
    }
    let headers = response.headers();
    if let Some(coding) = text_of(headers, &header::CONTENT_ENCODING).filter(|coding| coding != "identity") {
        return Err(odd(format!("sends the file packed as {coding:?}, which was not asked for")));
    }
    let framed = response.version() >= Version::HTTP_2 || headers.contains_key(header::TRANSFER_ENCODING);
    let mut file = FetchedFile {
        bytes: 0,
        sha256: [0; 32],
        etag: kept(headers, &header::ETAG),
        last_modified: kept(headers, &header::LAST_MODIFIED),
        ends_told: framed || response.content_length().is_some(),
    };
    let too_large = || DownloadError::TooLarge { host: host.to_owned(), most: wanted.most };
    if response.content_length().is_some_and(|length| length > wanted.most) {
        return Err(too_large());
    }
    let mut hash = Sha256::new();
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) if error.is_timeout() => return Err(failed(error)),
            Err(error) => {
                let why = redact(&chain_of(&error.without_url()), wanted.url);
                let reason = format!("stopped sending after {} bytes: {why}", file.bytes);
                return Err(DownloadError::Broken { host: host.to_owned(), reason });
            }
        };
        file.bytes += chunk.len() as u64;
        if file.bytes > wanted.most {
            return Err(too_large());
        }
        hash.update(&chunk);
        out.write_all(&chunk).map_err(DownloadError::Disk)?;
    }
    out.flush().map_err(DownloadError::Disk)?;
    file.sha256 = hash.finalize().into();
    Ok(Fetched::File(file))
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// A value that is kept for the next request. One that echoes a secret is not: the file is then fetched whole again.
fn kept(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    text_of(headers, name).filter(|text| crate::redact::redacted(text) == *text)
}

fn failure(error: reqwest::Error, wanted: &Wanted<'_>, host: &str) -> DownloadError {
    let host = host.to_owned();
    let (timed_out, redirected, unusable) = (error.is_timeout(), error.is_redirect(), error.is_builder());
    let reason = redact(&chain_of(&error.without_url()), wanted.url);
    match (timed_out, redirected, unusable) {
        (true, ..) => {
            let reason = format!("sent nothing for {} s", wanted.idle.as_secs_f64());
            DownloadError::Broken { host, reason }
        }
        (_, true, _) => DownloadError::Redirected { host, reason },
        (.., true) => DownloadError::Odd { host, reason },
        _ => DownloadError::Broken { host, reason: format!("cannot be reached: {reason}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_is_fetched_and_a_key_in_a_url_is_never_shown() {
        for bad in ["", "list.xml", "file:///etc/passwd", "ftp://a/KEY", "https://", "eth.example.org/v1/SECRETKEY"] {
            let error = check_list_url(bad).unwrap_err();
            assert!(!error.may_pass() && !error.to_string().contains("KEY"), "{bad}: {error}");
        }
        assert!(check_list_url("https://user:pass@lists.example.org/SECRETKEY?token=t").is_ok());
        assert_eq!(shown_host("https://user:pass@lists.example.org/SECRETKEY?token=t"), "lists.example.org");
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let status = |status| DownloadError::Status { host: "h".into(), status };
        for (code, passes) in [(500, true), (503, true), (429, true), (404, false), (403, false), (206, false)] {
            assert_eq!(status(code).may_pass(), passes, "{code}");
        }
        assert!(!DownloadError::TooLarge { host: "h".into(), most: 1 }.may_pass());
        assert!(DownloadError::Broken { host: "h".into(), reason: String::new() }.may_pass());
    }
}
