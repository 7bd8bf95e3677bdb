//! `storage`: which nodes of a network keep the chunks of objects, and how they are doing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context;
use clap::{ArgGroup, Args, Subcommand};
use cm_client::{
    Api, BucketElasticInfo, ClientError, ColdTierInfo, ExtraCopiesInfo, QuotaInfo, QuotaOf, ScrubInfo,
    StorageNetworkInfo, StoragePeerInfo,
};
use cm_types::ByteCount;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::{Connection, Format, Outcome, UsageError, output};

/// The status with which a node that keeps its objects alone answers about a network.
const ALONE: u16 = 409;

/// `cryptomesh storage …`
#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// Show the nodes that keep chunks, and what is to be mended.
    Status,
    /// Change what a node offers, or where it stands.
    Layout(LayoutArgs),
    /// Have every chunk looked at, and mended where it lacks something; nodes are asked what they have, nothing is read.
    Repair,
    /// Have every node read all that it keeps, as it does once a week, and what is damaged made anew.
    Scrub,
    /// Move everything away from a node, so that it can be removed.
    Drain(DrainArgs),
    /// Forget a node that was drained, or is lost.
    Remove(RemoveArgs),
    /// Show or say how the chunks of a bucket are kept.
    Redundancy(RedundancyArgs),
    /// Show or say how a bucket's content is cut into chunks, and whether these are compressed.
    Packing(PackingArgs),
    /// Show or say how copies of a bucket's chunks follow the load.
    Elastic(ElasticArgs),
    /// Show or say after how many days without access chunks of a bucket go to the cold tier.
    Cold(ColdArgs),
    /// Show or say how much a bucket or a tenant may keep.
    Quota(QuotaArgs),
}

/// `cryptomesh storage layout`
#[derive(Args, Debug)]
pub struct LayoutArgs {
    /// The node's id, as `storage status` shows it.
    pub node: String,
    /// How much it offers, such as 500GiB.
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteCount>,
    /// What it fails together with: a machine, a rack, a room.
    #[arg(long)]
    pub zone: Option<String>,
    /// The node takes no part yet: add it. Needs --capacity and --zone.
    #[arg(long, requires_all = ["capacity", "zone"])]
    pub add: bool,
}

/// `cryptomesh storage drain`
#[derive(Args, Debug)]
pub struct DrainArgs {
    /// The node's id, as `storage status` shows it.
    pub node: String,
    /// It takes new data again.
    #[arg(long)]
    pub undo: bool,
}

/// `cryptomesh storage remove`
#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// The node's id, as `storage status` shows it.
    pub node: String,
    /// It is lost for ever, with everything that only it had.
    #[arg(long)]
    pub gone: bool,
}

/// `cryptomesh storage redundancy`
#[derive(Args, Debug)]
pub struct RedundancyArgs {
    /// The bucket.
    pub bucket: String,
    /// So many copies (3), or shards of data and parity (3+2), for what is written from now on; `default` as the network does. Without
    /// it, what holds is shown.
    pub redundancy: Option<String>,
}

/// `cryptomesh storage packing`
#[derive(Args, Debug)]
pub struct PackingArgs {
    /// The bucket.
    pub bucket: String,
    /// Cut what is written from now on every MiB, or where its bytes say so: then versions share what did not change between them, wherever it has
    /// moved to. Without any option, what holds is shown.
    #[arg(long, value_parser = ["fixed", "content"])]
    pub cutting: Option<String>,
    /// Whether chunks are compressed that are written from now on.
    #[arg(long, value_parser = ["none", "zstd"])]
    pub compression: Option<String>,
}

/// `cryptomesh storage elastic`
#[derive(Args, Debug)]
pub struct ElasticArgs {
    /// The bucket.
    pub bucket: String,
    /// Chunks that are read much are kept by so many nodes at most, the promised ones included. Without any option, what holds is shown.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub copies: Option<u8>,
    /// A file with a policy of replication, which says who is to have copies besides, and when.
    #[arg(long, value_name = "FILE", requires = "copies")]
    pub policy: Option<PathBuf>,
    /// Copies follow the load no longer; those beyond the promised ones are dropped.
    #[arg(long, conflicts_with = "copies")]
    pub off: bool,
}

/// `cryptomesh storage cold`
#[derive(Args, Debug)]
pub struct ColdArgs {
    /// The bucket.
    pub bucket: String,
    /// After so many days; without it or `--off`, what holds is shown.
    #[arg(long, value_name = "DAYS", conflicts_with = "off")]
    pub after: Option<u32>,
    /// They stay from now on; what is there comes back as it is read.
    #[arg(long)]
    pub off: bool,
}

/// `cryptomesh storage quota`
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("of").required(true)))]
pub struct QuotaArgs {
    /// The bucket.
    #[arg(long, group = "of")]
    pub bucket: Option<String>,
    /// The tenant, with all its buckets.
    #[arg(long, group = "of")]
    pub tenant: Option<String>,
    /// So much at most, such as 500GiB, or `none`. Without any limit given, what holds is shown.
    #[arg(long, value_name = "SIZE")]
    pub bytes: Option<Limit<ByteCount>>,
    /// So many versions of objects at most, or `none`.
    #[arg(long, value_name = "COUNT")]
    pub objects: Option<Limit<u64>>,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<T> {
    /// Nothing is too much.
    None,
    /// This is the most.
    Max(T),
}

impl<T: FromStr> FromStr for Limit<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "none" => Ok(Self::None),
            text => text.parse().map(Self::Max),
        }
    }
}

impl<T> Limit<T> {
    fn max(self) -> Option<T> {
        match self {
            Self::None => None,
            Self::Max(max) => Some(max),
        }
    }
}

/// Runs one of them.
pub async fn run(command: StorageCommand, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    match command {
        StorageCommand::Status => full_status(&api, connection).await?,
        StorageCommand::Repair => {
            api.repair_storage().await?;
            let said = "every chunk is being looked at; `storage status` tells how far that is";
            output::done(connection, said, &json!({ "repair": "asked" }));
        }
        StorageCommand::Scrub => {
            api.scrub_storage().await?;
            let said = "every node reads all that it keeps; `storage status` tells how far each is";
            output::done(connection, said, &json!({ "scrub": "asked" }));
        }
        StorageCommand::Layout(args) => change(layout(args)?, connection).await?,
        StorageCommand::Drain(DrainArgs { node, undo }) => {
            let change_name = if undo { "activate" } else { "drain" };
            change(vec![json!({ "change": change_name, "peer": node })], connection).await?;
        }
        StorageCommand::Remove(RemoveArgs { node, gone }) => {
            let lost = gone.then(|| json!({ "change": "declare-gone", "peer": node }));
            let removed = json!({ "change": "remove", "peer": node });
            change(lost.into_iter().chain([removed]).collect(), connection).await?;
        }
        StorageCommand::Redundancy(RedundancyArgs { bucket, redundancy }) => {
            if let Some(text) = &redundancy {
                let value = Some(text.as_str()).filter(|text| *text != "default");
                api.set_bucket_redundancy(&bucket, value).await?;
            }
            let kept = api.bucket_redundancy(&bucket).await?;
            let said = kept.clone().unwrap_or_else(|| "default".to_owned());
            output::done(connection, &said, &json!({ "bucket": bucket, "redundancy": kept }));
        }
        StorageCommand::Packing(PackingArgs { bucket, cutting, compression }) => {
            let mut packing = api.bucket_packing(&bucket).await?;
            if cutting.is_some() || compression.is_some() {
                packing.cutting = cutting.unwrap_or(packing.cutting);
                packing.compression = compression.unwrap_or(packing.compression);
                api.set_bucket_packing(&bucket, &packing).await?;
            }
            let said = format!("cutting: {}, compression: {}", packing.cutting, packing.compression);
            output::done(connection, &said, &json!({ "bucket": bucket, "packing": packing }));
        }
        StorageCommand::Elastic(args) => elastic(args, connection).await?,
        StorageCommand::Cold(ColdArgs { bucket, after, off }) => {
            if off || after.is_some() {
                api.set_bucket_cold(&bucket, after).await?;
            }
            let after = api.bucket_cold(&bucket).await?;
            let said = after.map_or("off".to_owned(), |days| format!("after {days} days without access"));
            output::done(connection, &said, &json!({ "bucket": bucket, "after_days": after }));
        }
        StorageCommand::Quota(args) => quota(args, connection).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn elastic(args: ElasticArgs, connection: &Connection) -> anyhow::Result<()> {
    let api = connection.api()?;
    let ElasticArgs { bucket, copies, policy, off } = args;
    if off || copies.is_some() {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let policy = policy.as_ref().map(read).transpose()?;
        api.set_bucket_elastic(&bucket, &BucketElasticInfo { copies_max: copies, policy }).await?;
    }
    let found = api.bucket_elastic(&bucket).await?;
    let said = match (found.copies_max, &found.policy) {
        (None, _) => "off".to_owned(),
        (Some(copies), None) => format!("{copies} copies at most"),
        (Some(copies), Some(policy)) => format!("{copies} copies at most, and by this policy:\n{policy}"),
    };
    output::done(connection, &said, &json!({ "bucket": bucket, "elastic": found }));
    Ok(())
}

async fn quota(args: QuotaArgs, connection: &Connection) -> anyhow::Result<()> {
    let api = connection.api()?;
    let of = match (&args.bucket, &args.tenant) {
        (Some(bucket), _) => QuotaOf::Bucket(bucket),
        (None, Some(tenant)) => QuotaOf::Tenant(tenant),
        (None, None) => return Err(UsageError("give --bucket or --tenant".to_owned()).into()),
    };
    let mut found = api.quota(of).await?;
    if args.bytes.is_some() || args.objects.is_some() {
        // What is not said stays as it is.
        let bytes = args.bytes.map_or(found.bytes_max, |limit| limit.max().map(|max| max.bytes()));
        let objects = args.objects.map_or(found.objects_max, Limit::max);
        api.set_quota(of, bytes, objects).await?;
        found = api.quota(of).await?;
    }
    output::done(connection, &told(&found), &json!({ "quota": found }));
    Ok(())
}

fn told(quota: &QuotaInfo) -> String {
    let bytes = |bytes: Option<u64>, otherwise: &str| {
        bytes.map_or(otherwise.to_owned(), |bytes| HumanBytes(bytes).to_string())
    };
    let count =
        |count: Option<u64>, otherwise: &str| count.map_or(otherwise.to_owned(), |count| count.to_string());
    format!(
        "{} of {}, {} objects of {}",
        bytes(quota.bytes, "not counted"),
        bytes(quota.bytes_max, "any number of bytes"),
        count(quota.objects, "uncounted"),
        count(quota.objects_max, "any number"),
    )
}

fn layout(args: LayoutArgs) -> Result<Vec<Value>, UsageError> {
    let LayoutArgs { node, capacity, zone, add } = args;
    let capacity = capacity.map(|capacity| capacity.bytes());
    if add {
        return Ok(vec![json!({ "change": "add", "peer": node, "capacity_bytes": capacity, "zone": zone })]);
    }
    let mut changes = Vec::new();
    if let Some(bytes) = capacity {
        changes.push(json!({ "change": "resize", "peer": node, "capacity_bytes": bytes }));
    }
    if let Some(zone) = zone {
        changes.push(json!({ "change": "relocate", "peer": node, "zone": zone }));
    }
    match changes.is_empty() {
        true => Err(UsageError("nothing is to change; give --capacity or --zone".to_owned())),
        false => Ok(changes),
    }
}

async fn change(changes: Vec<Value>, connection: &Connection) -> anyhow::Result<()> {
    let epoch = connection.api()?.change_storage_layout(changes).await?;
    let said = format!("epoch {epoch}; data moves now, `storage status` tells how far that is");
    output::done(connection, &said, &json!({ "epoch": epoch }));
    Ok(())
}

/// The storage network and the cold tier; a node that keeps its objects alone has the latter only, if any.
async fn full_status(api: &Api, connection: &Connection) -> anyhow::Result<()> {
    let cold = api.cold_tier().await?;
    let has_cold = cold.place.is_some() || cold.chunks > 0;
    let storage = match api.storage().await {
        Ok(storage) => Some(storage),
        Err(ClientError::Refused(refusal)) if refusal.status == ALONE && has_cold => None,
        Err(error) => return Err(error.into()),
    };
    if connection.output != Format::Table {
        let mut document = match &storage {
            Some(storage) => serde_json::to_value(storage)?,
            None => json!({}),
        };
        document["cold"] = serde_json::to_value(&cold)?;
        output::document_of(connection, &document);
        return Ok(());
    }
    if has_cold {
        output::line(&told_cold(&cold));
    }
    if let Some(storage) = &storage {
        status(storage, connection);
    }
    Ok(())
}

fn told_cold(cold: &ColdTierInfo) -> String {
    let place = cold.place.as_deref().unwrap_or("not configured on this node");
    let mut said = format!(
        "cold tier {place}: {} chunks, {}, of {} buckets; {} names to delete; last looked: {}",
        cold.chunks,
        HumanBytes(cold.bytes),
        cold.buckets,
        cold.waiting,
        cold.looked_at.as_deref().unwrap_or("never"),
    );
    if let Some(failure) = &cold.failure {
        said.push_str(&format!("; DOES NOT ANSWER: {failure}"));
    }
    said
}

fn status(storage: &StorageNetworkInfo, connection: &Connection) {
    let silent = storage.peers.iter().filter(|peer| !peer.up && peer.state != "gone").count();
    let place = match storage.oldest_epoch == storage.epoch {
        true if silent > 0 => format!("{silent} nodes do not answer"),
        true if storage.short_chunks + storage.lost_chunks > 0 => "chunks are to be mended".to_owned(),
        true => "everything is at its place".to_owned(),
        false => format!(
            "data moves out of epochs since {}, and the counts are of before until everything was looked at",
            storage.oldest_epoch
        ),
    };
    output::note(
        connection,
        &format!("epoch {}, {} unless told; {place}", storage.epoch, storage.redundancy),
    );
    let counts = format!(
        "{} chunks to mend, {} that cannot be read, {} to delete; last looked at everything: {}",
        storage.short_chunks,
        storage.lost_chunks,
        storage.condemned_chunks,
        storage.surveyed_at.as_deref().unwrap_or("never"),
    );
    output::note(connection, &counts);
    if storage.extra.buckets + storage.extra.copies > 0 {
        let ExtraCopiesInfo { buckets, chunks, copies, bytes } = storage.extra;
        let bytes = HumanBytes(bytes);
        let extra = format!(
            "copies follow the load of {buckets} buckets: {copies} of {chunks} chunks, {bytes}, beyond the promised ones"
        );
        output::note(connection, &extra);
    }
    storage.peers.iter().for_each(|peer| output::line(&line(peer)));
}

fn line(peer: &StoragePeerInfo) -> String {
    let state = match (peer.state.as_str(), peer.up) {
        ("gone", _) => "gone",
        (_, false) => "down",
        ("draining", _) if peer.moving => "draining",
        ("draining", _) => "drained",
        (_, true) => "active",
    };
    let kept = match (peer.parts, peer.bytes) {
        (Some(parts), Some(bytes)) => format!("{parts} parts, {}", HumanBytes(bytes)),
        _ => "unknown".to_owned(),
    };
    let capacity = HumanBytes(peer.capacity_bytes);
    let mut said = format!("{}  {:8}  {} of {}  {}", peer.id, state, kept, capacity, peer.zone);
    match &peer.scrub {
        Some(ScrubInfo { begun_at, percent: 100 }) => said.push_str(&format!("  read {begun_at}")),
        Some(ScrubInfo { percent, .. }) => said.push_str(&format!("  being read, {percent} %")),
        None => {}
    }
    if let Some(damaged) = peer.damaged.filter(|damaged| *damaged > 0) {
        said.push_str(&format!("  {damaged} parts found damaged and made anew"));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_said_or_lifted() {
        assert_eq!("none".parse::<Limit<u64>>(), Ok(Limit::None));
        assert_eq!("7".parse::<Limit<u64>>(), Ok(Limit::Max(7)));
        assert!("some".parse::<Limit<u64>>().is_err());
        let quota = QuotaInfo { bytes_max: Some(1 << 30), bytes: Some(1 << 20), ..QuotaInfo::default() };
        assert_eq!(told(&quota), "1.00 MiB of 1.00 GiB, uncounted objects of any number");
    }

    #[test]
    fn a_quota_is_of_one_thing_and_may_say_both_limits() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: QuotaArgs,
        }
        let check = |line: &str, is_taken: bool| {
            let parsed = <Line as clap::Parser>::try_parse_from(format!("quota {line}").trim().split(' '));
            let said = parsed.as_ref().map(|line| &line.args).map_err(ToString::to_string);
            assert_eq!(parsed.is_ok(), is_taken, "{line}: {said:?}");
        };
        check("--bucket scans", true);
        check("--bucket scans --bytes 500GiB --objects none", true);
        check("--tenant acme --objects 1000000", true);
        check("--bytes 500GiB", false);
        check("--bucket scans --tenant acme", false);
    }

    #[test]
    fn changes_are_those_of_the_api() {
        let args = |capacity: Option<&str>, zone: Option<&str>, add| LayoutArgs {
            node: "a".to_owned(),
            capacity: capacity.map(|text| text.parse().unwrap()),
            zone: zone.map(str::to_owned),
            add,
        };
        let both = layout(args(Some("1GiB"), Some("rack 1"), false)).unwrap();
        assert_eq!(
            both,
            [
                json!({ "change": "resize", "peer": "a", "capacity_bytes": 1 << 30 }),
                json!({ "change": "relocate", "peer": "a", "zone": "rack 1" }),
            ]
        );
        let added = layout(args(Some("1GiB"), Some("rack 1"), true)).unwrap();
        assert_eq!(added[0]["change"], "add");
        assert!(layout(args(None, None, false)).is_err());
    }
}
