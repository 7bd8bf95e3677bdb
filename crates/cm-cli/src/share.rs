//! `object share`: URLs for those who have no key of their own.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use cm_client::locate::local_s3_endpoint;
use cm_client::share::{S3Key, SHARE_MAX};
use cm_types::Timestamp;

use crate::object::address;
use crate::{Connection, Format, Outcome, UsageError, output};

/// `cryptomesh object share`
#[derive(Args, Debug)]
pub struct ShareArgs {
    /// The object: BUCKET/KEY.
    pub object: String,
    /// How long the URL is good for, up to 7d; a number with `s`, `m`, `h` or `d`.
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = time)]
    pub expires: Duration,
    /// Where the node serves S3, as those reach it who are given the URL [env: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`] [default: the node of the local data directory].
    #[arg(long, value_name = "URL")]
    pub s3_url: Option<String>,
}

/// A time such as `90s`, `15m`, `1h` or `7d`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time such as `15m`, `1h` or `7d`");
    let (unit, seconds) = match text.chars().last() {
        Some('s') => ("s", 1),
        Some('m') => ("m", 60),
        Some('h') => ("h", 3600),
        Some('d') => ("d", 24 * 3600),
        _ => return Err(wrong()),
    };
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    let time = number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)?;
    match time {
        Duration::ZERO => Err("it would end at once".to_owned()),
        time if time > SHARE_MAX => Err("7d is the longest time".to_owned()),
        time => Ok(time),
    }
}

/// Prints the URL.
pub(crate) async fn share(args: &ShareArgs, connection: &Connection) -> Outcome {
    let (bucket, object) = address(&args.object)?;
    let given = &connection.surroundings;
    let (Some(id), Some(secret)) = (given.s3_key_id.clone(), given.s3_secret.clone()) else {
        let problem = "a key of S3 is needed: make one with `cryptomesh principal api-key PRINCIPAL --label share --s3` \
                       and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to what it prints; whoever has the URL \
                       reads with what the key may";
        return Err(UsageError(problem.to_owned()).into());
    };
    let named = args.s3_url.clone().or_else(|| given.s3_endpoint.clone());
    let Some(endpoint) = named.or_else(|| local_s3_endpoint(&connection.data_dir())) else {
        let problem = "it is not known where the node serves S3: pass --s3-url or set AWS_ENDPOINT_URL_S3";
        return Err(UsageError(problem.to_owned()).into());
    };
    let key = S3Key { id, secret };
    let expires_at = Timestamp::from(std::time::SystemTime::now()).after(args.expires);
    let url = cm_client::share::share(&endpoint, &key, &bucket, &object, args.expires).await?;
    match connection.output {
        Format::Table => output::line(&url),
        Format::Json | Format::Yaml => {
            let document = serde_json::json!({ "url": url, "expires_at": expires_at.to_string() });
            output::document_of(connection, &document);
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_between_a_second_and_a_week() {
        let check = |text: &str, seconds: Option<u64>| {
            assert_eq!(time(text).ok(), seconds.map(Duration::from_secs), "{text}");
        };
        check("1s", Some(1));
        check("15m", Some(900));
        check("1h", Some(3600));
        check("7d", Some(604_800));
        for wrong in ["", "1", "h", "0s", "8d", "169h", "1hh", "-1h", "99999999999999999999d", "ä"] {
            check(wrong, None);
        }
    }
}
