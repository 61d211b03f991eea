//! The body of a request that was refused before it was read.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

/// More is not waited for: the client learns of the refusal sooner by a close.
const MOST_BYTES: usize = 64 * 1024;
const LIMIT: Duration = Duration::from_millis(500);

/// Reads it away, for in HTTP/1.1 the next request comes after it: many clients send head and body apart, so that it has often not come yet when
/// the refusal is ready. False if it is too long or too slow: then the connection can't go on, and its client has to be told so. `is_asked_for`:
/// its client waits to be asked for it (RFC 9110 §10.1.1), and is not.
pub(super) async fn read_away(mut body: Incoming, is_asked_for: bool) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if is_asked_for || body.size_hint().lower() > MOST_BYTES as u64 {
        return false;
    }
    let reading = async {
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return false;
            };
            read += frame.data_ref().map_or(0, |data| data.len());
            if read > MOST_BYTES {
                return false;
            }
        }
        true
    };
    timeout(LIMIT, reading).await.unwrap_or(false)
}
