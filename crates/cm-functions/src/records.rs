//! What the service keeps in the kernel: files as objects, instances, states and results as records.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use cm_kernel::catalog::kinds::{Bucket, FunctionResult, FunctionState, Instance};
use cm_kernel::catalog::lifecycle::DEPLOYMENT_INITIATED;
use cm_kernel::catalog::{CatalogError, Change, Dependents, NewRecord, Query, Record};
use cm_kernel::objects::{DeleteObject, ListQuery, NewObject, ObjectError, ObjectInfo, ObjectRead};
use cm_kernel::policy::{Create, Delete, Invoke, List, Permit, Read, Update};
use cm_kernel::{Kernel, KernelError, OpContext};
use cm_types::{BucketName, ObjectKey, PageLimit, ResourceId, ResourceKind, Sha256Digest};
use futures::{Stream, TryStreamExt as _};
use serde_json::{Value, json};

use crate::FunctionError;
use crate::deployment::Deployment;
use crate::watch::ended;

/// The bucket of functions' files. It belongs to the node.
const BUCKET: &str = "cryptomesh-functions";

/// Free pairs in states and results; never data.
pub(crate) type Metadata = BTreeMap<String, String>;

/// The kernel, as this crate uses it.
#[derive(Clone)]
pub(crate) struct Records {
    kernel: Kernel,
    bucket: BucketName,
}

impl Records {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self { kernel, bucket: BucketName::parse(BUCKET).expect("the name is made of permitted characters") }
    }

    /// Makes the bucket at the first start.
    pub(crate) async fn prepare(&self, node: &OpContext) -> Result<(), KernelError> {
        match self.kernel.look_up::<Read>(node, ResourceKind::Bucket, BUCKET).await {
            Ok(_) => return Ok(()),
            Err(KernelError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let permit = self.kernel.authorize::<Create>(node, ResourceKind::Bucket).await?;
        let description = Some("programs and data files of confidential functions".to_owned());
        let spec = Bucket { description, ..Bucket::default() };
        let id = ResourceId::from(self.bucket.clone());
        self.kernel.create_record(node, &permit, NewRecord::of(BUCKET, &spec).with_id(id)).await?;
        Ok(())
    }

    pub(crate) async fn put_object(
        &self,
        node: &OpContext,
        key: &ObjectKey,
        expected: Sha256Digest,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<ObjectInfo, FunctionError> {
        let permit = self.kernel.look_up_object::<Update>(node, &self.bucket, key).await?;
        let new = NewObject {
            expected_sha256: Some(expected),
            request: Some(node.request.clone()),
            ..NewObject::default()
        };
        Ok(self.kernel.objects().put(&permit, &self.bucket, key, new, body).await?)
    }

    pub(crate) async fn get_object(
        &self,
        node: &OpContext,
        key: &ObjectKey,
    ) -> Result<ObjectRead, FunctionError> {
        let permit = self.kernel.look_up_object::<Read>(node, &self.bucket, key).await?;
        Ok(self.kernel.objects().get(&permit, &self.bucket, key, None).await?)
    }

    /// The whole content of an object, if there is one and it has the digest.
    pub(crate) async fn load_object(
        &self,
        node: &OpContext,
        key: &ObjectKey,
        expected: Sha256Digest,
    ) -> Result<Option<Vec<u8>>, FunctionError> {
        let mut read = match self.get_object(node, key).await {
            Ok(read) if read.info.sha256 == expected => read,
            Ok(_) | Err(FunctionError::Objects(ObjectError::NotFound { .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::with_capacity(usize::try_from(read.info.size).unwrap_or_default());
        while let Some(piece) = read.body.try_next().await? {
            content.extend_from_slice(&piece);
        }
        Ok(Some(content))
    }

    pub(crate) async fn head_object(
        &self,
        node: &OpContext,
        key: &ObjectKey,
    ) -> Result<Option<ObjectInfo>, FunctionError> {
        let permit = self.kernel.look_up_object::<Read>(node, &self.bucket, key).await?;
        found(self.kernel.objects().head(&permit, &self.bucket, key).await)
    }

    /// Removes an object; whether there was one.
    pub(crate) async fn delete_object(
        &self,
        node: &OpContext,
        key: &ObjectKey,
    ) -> Result<bool, FunctionError> {
        let permit = self.kernel.look_up_object::<Delete>(node, &self.bucket, key).await?;
        let deletion = DeleteObject { request: Some(node.request.clone()), ..DeleteObject::default() };
        Ok(found(self.kernel.objects().delete(&permit, &self.bucket, key, deletion).await)?.is_some())
    }

    /// Some of the objects whose keys begin so.
    pub(crate) async fn list_objects(
        &self,
        node: &OpContext,
        prefix: &str,
    ) -> Result<Vec<ObjectKey>, FunctionError> {
        let (_, permit) =
            self.kernel.look_up::<List>(node, ResourceKind::Bucket, self.bucket.as_str()).await?;
        let query = ListQuery { prefix: prefix.to_owned(), ..ListQuery::default() };
        let page = self.kernel.objects().list(&permit, &self.bucket, query).await?;
        Ok(page.items.into_iter().map(|object| object.key).collect())
    }

    /// Makes a record, and adds states of what it is an instance of, in one transaction.
    pub(crate) async fn create(
        &self,
        op: &OpContext,
        new: NewRecord,
        told: Option<(&Permit<Invoke>, Vec<FunctionState>)>,
    ) -> Result<Record, KernelError> {
        let permit = self.kernel.authorize_labelled::<Create>(op, new.kind, &new.labels).await?;
        let Some((invoke, states)) = told else { return self.kernel.create_record(op, &permit, new).await };
        let states = states.iter().map(|state| NewRecord::of(state.state.clone(), state)).collect();
        self.kernel.create_record_and_history(op, &permit, new, invoke, states).await
    }

    pub(crate) async fn set_status(
        &self,
        op: &OpContext,
        instance: &ResourceId,
        status: Value,
    ) -> Result<Record, KernelError> {
        let (_, permit) =
            self.kernel.look_up::<Update>(op, ResourceKind::Instance, instance.as_str()).await?;
        self.kernel.set_record_status(op, &permit, instance, status).await
    }

    pub(crate) async fn delete(&self, op: &OpContext, instance: &ResourceId) -> Result<(), KernelError> {
        let (_, permit) =
            self.kernel.look_up::<Delete>(op, ResourceKind::Instance, instance.as_str()).await?;
        self.kernel.delete_record(op, &permit, instance, None, Dependents::Refuse).await?;
        Ok(())
    }

    /// Writes how far the deployment of a function is, in the node's name, beside whatever else its status says. A step
    /// that its life does not have is left out: another instance of the function was faster.
    pub(crate) async fn set_deployment(
        &self,
        node: &OpContext,
        function: &ResourceId,
        steps: &[Deployment<'_>],
    ) -> Result<(), KernelError> {
        for step in steps {
            let (record, permit) =
                self.kernel.look_up::<Update>(node, ResourceKind::Function, function.as_str()).await?;
            let now = record.status.get("deployment_status").and_then(Value::as_str);
            if !step.follows(now.unwrap_or(DEPLOYMENT_INITIATED)) {
                continue;
            }
            let change = Change { status: step.fields(), ..Change::default() };
            match self.kernel.update_record(node, &permit, function, change).await {
                Ok(_) | Err(KernelError::Catalog(CatalogError::IllegalTransition { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Appends a state of the function.
    pub(crate) async fn append_state(
        &self,
        op: &OpContext,
        permit: &Permit<Invoke>,
        state: FunctionState,
    ) -> Result<Option<Record>, KernelError> {
        let name = state.state.clone();
        let appended = self.kernel.append_history(op, permit, vec![NewRecord::of(name, &state)]).await?;
        Ok(appended.into_iter().next())
    }

    /// Appends the last state of a run and its result, linked to that state, together.
    pub(crate) async fn append_end(
        &self,
        op: &OpContext,
        permit: &Permit<Invoke>,
        state: FunctionState,
    ) -> Result<(), KernelError> {
        let state_id = ResourceId::random();
        let result = FunctionResult {
            function_id: state.function_id.clone(),
            state_id: Some(state_id.clone()),
            instance_id: state.instance_id.clone(),
            metadata: state.metadata.clone(),
        };
        let name = state.state.clone();
        let new = vec![NewRecord::of(name.clone(), &state).with_id(state_id), NewRecord::of(name, &result)];
        self.kernel.append_history(op, permit, new).await?;
        Ok(())
    }

    /// Marks instances that this node ran, and that no process of it runs any more, as failed. Those of other nodes on the
    /// same catalogue are theirs to judge.
    pub(crate) async fn fail_leftovers(&self, node: &OpContext) -> Result<(), KernelError> {
        let permit = self.kernel.authorize::<List>(node, ResourceKind::Instance).await?;
        let mut after = None;
        loop {
            let query = Query { after, limit: PageLimit::MAX, ..Query::of(ResourceKind::Instance) };
            let page = self.kernel.list_records(node, &permit, query).await?;
            for record in page.items {
                if is_live(&record.status) && self.is_own(&record.status) {
                    let reason = "the node was restarted";
                    let status = ended(&record.status, json!({ "state": "failed", "reason": reason }));
                    self.set_status(node, &record.header.id, status).await?;
                    let Some(function) = record.spec_as::<Instance>()?.function else { continue };
                    match self.set_deployment(node, &function, &[Deployment::Failed { reason }]).await {
                        Ok(()) | Err(KernelError::NotFound(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

impl Records {
    /// Whether there is an instance that is ready under this policy.
    pub(crate) async fn is_running_under(
        &self,
        node: &OpContext,
        policy_hash: &Sha256Digest,
    ) -> Result<bool, KernelError> {
        let permit = self.kernel.authorize::<List>(node, ResourceKind::Instance).await?;
        let hash = ("status.policy_hash".to_owned(), policy_hash.to_string());
        let filters = vec![("status.state".to_owned(), "ready".to_owned()), hash];
        let query = Query { filters, newest_first: true, ..Query::of(ResourceKind::Instance) };
        Ok(!self.kernel.list_records(node, &permit, query).await?.items.is_empty())
    }

    /// Whether a status speaks of a process of this node. One that names no node is older than nodes had names, when there
    /// was one to a catalogue.
    fn is_own(&self, status: &Value) -> bool {
        let node = status.get("node").and_then(Value::as_str);
        node.is_none_or(|node| node == self.kernel.node_id().as_str())
    }
}

/// Whether a status claims a process.
fn is_live(status: &Value) -> bool {
    matches!(status.get("state").and_then(Value::as_str), None | Some("starting" | "ready"))
}

fn found<T>(outcome: Result<T, ObjectError>) -> Result<Option<T>, FunctionError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(ObjectError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
