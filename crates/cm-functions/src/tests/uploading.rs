//! Which files of a function are taken.

use cm_kernel::objects::ObjectError;
use cm_kernel::policy::Read;
use futures::TryStreamExt as _;

use super::*;
use crate::FileKind::{self, DataFile, Program};

impl House {
    async fn sizes(&self, function: &Record, kind: FileKind) -> Vec<(String, Option<u64>)> {
        let permit = self.permit::<Read>(function).await;
        let files = self.functions.list_files(&self.admin, function, &permit, kind).await.unwrap();
        files.into_iter().map(|file| (file.name, file.size)).collect()
    }

    async fn read(&self, function: &Record, kind: FileKind, name: &str) -> Result<Vec<u8>, FunctionError> {
        let permit = self.permit::<Read>(function).await;
        let read = self.functions.get_file(&self.admin, function, &permit, kind, name).await?;
        Ok(read.body.try_collect::<Vec<_>>().await?.concat())
    }
}

#[tokio::test]
async fn a_file_is_taken_only_if_the_policy_names_it_and_only_with_its_hash() {
    let house = House::open("false").await;
    let function = house.function("f", &program_policy("f")).await;
    let unknown = |outcome| matches!(outcome, Err(FunctionError::UnknownFile(_)));
    assert!(unknown(house.put(&function, Program, "other.wasm", PROGRAM).await));
    assert!(unknown(house.put(&function, Program, "table.csv", DATA).await), "a data file as a program");
    assert!(unknown(house.put(&function, DataFile, "program.wasm", PROGRAM).await), "a program as data");
    for name in ["../program.wasm", "", "a/../../b"] {
        let outcome = house.put(&function, Program, name, PROGRAM).await;
        assert!(matches!(outcome, Err(FunctionError::Path(_) | FunctionError::UnknownFile(_))), "{name:?}");
    }
    let wrong = house.put(&function, Program, "program.wasm", b"\0asm another").await;
    let mismatch =
        |error: &FunctionError| matches!(error, FunctionError::Objects(ObjectError::DigestMismatch { .. }));
    assert!(wrong.as_ref().is_err_and(mismatch), "{wrong:?}");
    assert_eq!(house.sizes(&function, Program).await, [("program.wasm".to_owned(), None)]);
    assert!(house.read(&function, Program, "program.wasm").await.is_err(), "a refused file was kept");

    for _ in 0..2 {
        house.put(&function, Program, "/program.wasm", PROGRAM).await.unwrap();
    }
    house.put(&function, DataFile, "table.csv", DATA).await.unwrap();
    let size = Some(PROGRAM.len() as u64);
    assert_eq!(house.sizes(&function, Program).await, [("program.wasm".to_owned(), size)]);
    assert_eq!(house.read(&function, DataFile, "table.csv").await.unwrap(), DATA);
    // A later file with the wrong hash does not replace the right one.
    assert!(house.put(&function, Program, "program.wasm", b"\0asm another").await.is_err());
    assert_eq!(house.read(&function, Program, "program.wasm").await.unwrap(), PROGRAM);

    let permit = house.permit::<Update>(&function).await;
    for expected in [true, false] {
        let there =
            house.functions.delete_file(&house.admin, &function, &permit, Program, "program.wasm").await;
        assert_eq!(there.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_permit_for_one_function_opens_no_other() {
    let house = House::open("false").await;
    let (own, other) = (
        house.function("own", &program_policy("own")).await,
        house.function("other", &program_policy("other")).await,
    );
    let permit = house.permit::<Update>(&own).await;
    let body = futures::stream::iter([Ok(bytes::Bytes::from_static(PROGRAM))]);
    let outcome =
        house.functions.put_file(&house.admin, &other, &permit, Program, "program.wasm", body).await;
    assert!(matches!(outcome, Err(FunctionError::UnknownFile(_))));
    let permit = house.permit::<Invoke>(&own).await;
    let policy = user_policy("other", "i", &[("output", 8198)]).to_string();
    let outcome =
        house.functions.create_instance(&house.admin, &other, &permit, &policy, crate::Wording::Native).await;
    assert!(matches!(outcome, Err(FunctionError::UnknownFile(_))));
    assert!(house.records(ResourceKind::Instance).await.is_empty());
}

#[tokio::test]
async fn a_function_without_a_policy_has_no_files() {
    let house = House::open("false").await;
    let plain = house.create("plain", &Function::default()).await;
    let outcome = house.put(&plain, Program, "program.wasm", PROGRAM).await;
    assert!(matches!(outcome, Err(FunctionError::NotConfidential)));
}
