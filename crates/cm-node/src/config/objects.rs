//! Settings of stored objects: lifecycles, the cold tier, and how buckets are addressed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cm_crypto::Secret;
use cm_kernel::objects::{ColdPace, ColdTier, INLINE_BYTES_CEILING, LifecyclePace};
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, RetryConfig};

use super::{ConfigError, ObjectsToml, wrong};

/// How often rules are followed unless told, in seconds.
const LIFECYCLE_EVERY: u64 = 3600;
/// How long a day is unless told, in seconds.
const LIFECYCLE_DAY: u64 = 24 * 3600;
/// How often a request to the cold tier is tried again, and for how long: its readers wait.
const COLD_RETRIES: usize = 2;
const COLD_RETRY_FOR: Duration = Duration::from_secs(10);
/// How long the cold tier may take to let itself be connected to.
const COLD_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How objects are kept: the largest, and up to which size they have no chunks.
pub(super) fn kept(written: &ObjectsToml) -> Result<cm_kernel::objects::Config, ConfigError> {
    let mut config = cm_kernel::objects::Config::default();
    if let Some(size) = &written.size_max {
        config.object_bytes_max = size.bytes();
    }
    if let Some(size) = &written.inline_max {
        let bytes = usize::try_from(size.bytes()).ok().filter(|bytes| *bytes <= INLINE_BYTES_CEILING);
        config.inline_bytes_max = bytes.ok_or_else(|| {
            wrong("objects.inline_max", format!("must be {} KiB or less", INLINE_BYTES_CEILING >> 10))
        })?;
    }
    Ok(config)
}

pub(super) fn lifecycle(every: Option<u64>, day: Option<u64>) -> Result<LifecyclePace, ConfigError> {
    let seconds = |name: &str, written: Option<u64>, default: u64| match written.unwrap_or(default) {
        0 => Err(wrong(name, "must be one second or more")),
        seconds => Ok(Duration::from_secs(seconds)),
    };
    Ok(LifecyclePace {
        every: seconds("objects.lifecycle_every", every, LIFECYCLE_EVERY)?,
        day: seconds("objects.lifecycle_day", day, LIFECYCLE_DAY)?,
    })
}

pub(super) fn s3_domain(text: &str) -> Result<cm_s3::Domain, ConfigError> {
    cm_s3::Domain::parse(text).map_err(|error| wrong("s3.domain", error.to_string()))
}

/// The service for cold chunks. Nothing is sent yet.
pub(super) fn cold_tier(objects: ObjectsToml) -> Result<Option<ColdTier>, ConfigError> {
    // Destructured in full, so that the compiler demands a decision about each new key; the others were taken before.
    let ObjectsToml {
        size_max: _,
        inline_max: _,
        capacity: _,
        zone: _,
        lifecycle_every: _,
        lifecycle_day: _,
        cold_endpoint: endpoint,
        cold_bucket: bucket,
        cold_region: region,
        cold_prefix: prefix,
        cold_access_key_id: access_key_id,
        cold_secret_access_key: secret_access_key,
        cold_look_every: look_every,
        cold_bytes_per_second: bytes_per_second,
    } = objects;
    let is_given = endpoint.is_some() || access_key_id.is_some() || secret_access_key.is_some();
    let Some(bucket) = bucket.filter(|bucket| !bucket.is_empty()) else {
        return match is_given {
            true => Err(wrong("objects.cold_bucket", "must name the bucket that takes cold chunks")),
            false => Ok(None),
        };
    };
    let (Some(id), Some(path)) = (access_key_id, secret_access_key) else {
        return Err(wrong(
            "objects.cold_secret_access_key",
            "must name a file with the secret, and `objects.cold_access_key_id` the key",
        ));
    };
    let secret = read_secret(&path)?;
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let retry =
        RetryConfig { max_retries: COLD_RETRIES, retry_timeout: COLD_RETRY_FOR, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket)
        .with_region(&region)
        .with_access_key_id(id)
        .with_secret_access_key(secret.expose())
        .with_retry(retry);
    let mut options = ClientOptions::new().with_connect_timeout(COLD_CONNECT_TIMEOUT);
    let place = match endpoint {
        Some(endpoint) => {
            let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', ' ', '@'])) {
                return Err(wrong(
                    "objects.cold_endpoint",
                    format!("`{endpoint}` is no http or https URL of a service"),
                ));
            }
            options = options.with_allow_http(endpoint.starts_with("http://"));
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
            format!("{}/{bucket}", endpoint.trim_end_matches('/'))
        }
        None => format!("s3://{bucket}"),
    };
    let store = builder.with_client_options(options).build();
    let store = store.map_err(|error| wrong("objects.cold_bucket", error.to_string()))?;
    let mut pace = ColdPace::default();
    if let Some(seconds) = look_every {
        pace.look_every = Duration::from_secs(seconds.max(1));
    }
    if let Some(bytes) = bytes_per_second {
        pace.bytes_per_second = bytes.bytes().max(1);
    }
    Ok(Some(ColdTier { store: Arc::new(store), place, prefix: prefix.unwrap_or_default(), pace }))
}

fn read_secret(path: &Path) -> Result<Secret<String>, ConfigError> {
    let problem = |reason: String| wrong("objects.cold_secret_access_key", reason);
    let text = std::fs::read_to_string(path).map(Secret::new);
    let text = text.map_err(|error| problem(format!("{} cannot be read: {error}", path.display())))?;
    match text.expose().trim() {
        "" => Err(problem(format!("{} is empty", path.display()))),
        secret => Ok(Secret::new(secret.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cold(dir: &Path) -> ObjectsToml {
        let file = dir.join("secret");
        std::fs::write(&file, "hidden\n").unwrap();
        ObjectsToml {
            cold_endpoint: Some("http://127.0.0.1:9000/".to_owned()),
            cold_bucket: Some("cold".to_owned()),
            cold_access_key_id: Some("id".to_owned()),
            cold_secret_access_key: Some(file),
            ..ObjectsToml::default()
        }
    }

    #[test]
    fn a_cold_tier_is_whole_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(cold_tier(ObjectsToml::default()).unwrap().is_none());
        let found = cold_tier(cold(dir.path())).unwrap().unwrap();
        assert_eq!(found.place, "http://127.0.0.1:9000/cold");
        assert!(!format!("{found:?}").contains("hidden"), "{found:?}");
        for wrong in [
            ObjectsToml { cold_bucket: None, ..cold(dir.path()) },
            ObjectsToml { cold_access_key_id: None, ..cold(dir.path()) },
            ObjectsToml { cold_secret_access_key: None, ..cold(dir.path()) },
            ObjectsToml { cold_secret_access_key: Some(dir.path().join("absent")), ..cold(dir.path()) },
            ObjectsToml { cold_endpoint: Some("ftp://x".to_owned()), ..cold(dir.path()) },
            ObjectsToml { cold_endpoint: Some("http://user:password@x".to_owned()), ..cold(dir.path()) },
        ] {
            assert!(cold_tier(wrong).is_err());
        }
    }

    #[test]
    fn rows_have_a_largest_size() {
        let inline_max = |text: &str| {
            kept(&ObjectsToml { inline_max: Some(text.parse().unwrap()), ..ObjectsToml::default() })
        };
        assert_eq!(kept(&ObjectsToml::default()).unwrap(), cm_kernel::objects::Config::default());
        assert_eq!(inline_max("0").unwrap().inline_bytes_max, 0);
        assert_eq!(inline_max("16KiB").unwrap().inline_bytes_max, 16 << 10);
        assert!(inline_max("16385").is_err());
    }

    #[test]
    fn days_may_be_seconds_and_not_less() {
        assert_eq!(lifecycle(None, None).unwrap().day, Duration::from_secs(86_400));
        assert_eq!(lifecycle(Some(2), Some(10)).unwrap().every, Duration::from_secs(2));
        assert!(lifecycle(Some(0), None).is_err() && lifecycle(None, Some(0)).is_err());
    }
}
