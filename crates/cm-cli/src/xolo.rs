//! `xolo`: files of commands of the earlier identity service, executed by a node of today.

mod language;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use cm_client::manifests::DeclaredResource;
use cm_client::{Api, ClientError};
use cm_policy::pdl::syntax::{ActionWord, What, Who};
use cm_policy::pdl::{self, CaseFile, Compiled, Document, Effect, Position, Rule, Statement, Verdict};
use cm_types::ResourceKind;
use serde_json::{Map, Value, json};

use crate::sealing::{self, Compat, CompatArgs, OpenArgs, SealArgs};
use crate::{Connection, Outcome, output};
use language::{Command, Line};

/// The permission policy that keeps what GRANT gives.
const GRANTS: &str = "xolo-grants";

/// `cryptomesh xolo`
#[derive(Args, Debug)]
#[command(
    after_help = "Commands are executed one after the other, up to the first that fails. Exit codes: 0 all done, 1 one failed or cannot be executed."
)]
pub struct XoloArgs {
    /// A file of commands.
    pub file: PathBuf,
    /// Execute nothing; say of each command what it would be.
    #[arg(long)]
    pub dry_run: bool,
}

/// Why a command has no counterpart here.
#[derive(Debug)]
struct Refused(&'static str);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refused {}

/// Executes a file of commands.
pub async fn run(args: XoloArgs, connection: &Connection) -> Outcome {
    let script = sealing::text(&args.file)?;
    let name = args.file.display().to_string();
    let lines = language::parse(&script).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    // A file that cannot be executed to its end is refused before its first command.
    for Line { line, command } in &lines {
        if let Some(reason) = unsupported(command) {
            let said = describe(command);
            return Err(anyhow::Error::new(Refused(reason)).context(format!("{name}: line {line}: {said}")));
        }
        if let Command::Grant { permission, resource, role }
        | Command::Revoke { permission, resource, role } = command
        {
            rule(permission, resource, role).with_context(|| format!("{name}: line {line}"))?;
        }
        if let Command::CreateUser { fields, .. } | Command::UpdateUser { fields, .. } = command {
            user_fields(fields).with_context(|| format!("{name}: line {line}"))?;
        }
    }
    for Line { line, command } in lines {
        let said = describe(&command);
        if args.dry_run {
            output::line(&format!("line {line}: {said}"));
            continue;
        }
        let code =
            execute(command, connection).await.with_context(|| format!("{name}: line {line}: {said}"))?;
        if code != ExitCode::SUCCESS {
            output::error(&format!("{name}: line {line}: {said}: failed, and nothing after it was done"));
            return Ok(code);
        }
        output::note(connection, &format!("line {line}: {said}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn unsupported(command: &Command) -> Option<&'static str> {
    match command {
        Command::CreateScope { .. } | Command::AssignScope { .. } => Some(
            "scopes belong to accounts of the identity service and are made by its API (/api/v4 of the listener `xolo`); \
             roles and permission policies say here what somebody may do",
        ),
        Command::GenerateLicense { .. } | Command::DeleteLicense { .. } => Some(
            "licences are given by the API of the identity service (/api/v4 of the listener `xolo`), not by a node's administrator",
        ),
        _ => None,
    }
}

fn describe(command: &Command) -> String {
    match command {
        Command::CreateUser { user, .. } => format!("create principal {user}"),
        Command::UpdateUser { user, .. } => format!("change principal {user}"),
        Command::DeleteUser { user } => format!("delete principal {user}"),
        Command::Authenticate { user, .. } => format!("authenticate {user}"),
        Command::Grant { permission, resource, role } => {
            format!("allow role {role} {permission} on {resource}")
        }
        Command::Revoke { permission, resource, role } => {
            format!("no longer allow role {role} {permission} on {resource}")
        }
        Command::AssignRole { role, user } => format!("give role {role} to {user}"),
        Command::LoadPolicy { path } => format!("put the policy of {path} in force"),
        Command::EvaluateRequest { path } => format!("decide what {path} asks"),
        Command::Encrypt { file, target, .. } => format!("seal {file} as {target}"),
        Command::Decrypt { file, target, .. } => format!("open {file} as {target}"),
        Command::CreateScope { scope } => format!("create scope {scope}"),
        Command::AssignScope { scope, user } => format!("assign scope {scope} to {user}"),
        Command::GenerateLicense { user, scope, expires } => {
            let expires = expires.as_deref().unwrap_or("nobody says when");
            format!("give {user} a licence for scope {scope} that ends: {expires}")
        }
        Command::DeleteLicense { user, scope } => {
            format!("take the licence of {user} for scope {scope} away")
        }
    }
}

async fn execute(command: Command, connection: &Connection) -> Outcome {
    match command {
        Command::CreateUser { user, fields } => create_user(&connection.api()?, &user, &fields).await?,
        Command::UpdateUser { user, fields } => update_user(&connection.api()?, &user, &fields).await?,
        Command::DeleteUser { user } => connection.api()?.remove(ResourceKind::Principal, &user).await?,
        Command::Authenticate { user, password, scope } => {
            if let Some(scope) = scope {
                output::note(
                    connection,
                    &format!("scope {scope} says nothing here: a token is for all that its owner may do"),
                );
            }
            let location = connection.location()?;
            let api = Api::new(cm_client::Location { token: None, ..location })?;
            let tenant = cm_types::TenantId::default_tenant();
            let issued = api.login(tenant.as_str(), &user, &password).await?;
            output::note(
                connection,
                &format!("{user} is who they say; their token would end at {}", issued.expires_at),
            );
        }
        Command::AssignRole { role, user } => assign(&connection.api()?, &role, &user).await?,
        Command::Grant { permission, resource, role } => {
            let new = rule(&permission, &resource, &role)?;
            change_grants(&connection.api()?, |document| {
                if !document.statements.iter().any(|statement| statement.rule == new) {
                    document.statements.push(statement(new));
                }
                Ok(())
            })
            .await?;
        }
        Command::Revoke { permission, resource, role } => {
            let gone = rule(&permission, &resource, &role)?;
            change_grants(&connection.api()?, |document| {
                let before = document.statements.len();
                document.statements.retain(|statement| statement.rule != gone);
                anyhow::ensure!(document.statements.len() < before, "it was not granted");
                Ok(())
            })
            .await?;
        }
        Command::LoadPolicy { path } => {
            let document = pdl::import::abac_json(&sealing::text(Path::new(&path))?)?;
            let stem = Path::new(&path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
            put_policy(&connection.api()?, &stem.unwrap_or_default(), &document).await?;
        }
        Command::EvaluateRequest { path } => return evaluate(&path, connection).await,
        Command::Encrypt { file, key, target } => {
            let (file, to_file) = (PathBuf::from(file), Some(PathBuf::from(target)));
            let args = SealArgs { file, to_file, recipients: Vec::new(), compat: compat(key), force: false };
            return sealing::seal(args, connection).await;
        }
        Command::Decrypt { file, key, target } => {
            let (file, to_file) = (PathBuf::from(file), Some(PathBuf::from(target)));
            let args = OpenArgs { file, to_file, compat: compat(key), force: false };
            return sealing::open(args, connection).await;
        }
        command @ (Command::CreateScope { .. }
        | Command::AssignScope { .. }
        | Command::GenerateLicense { .. }
        | Command::DeleteLicense { .. }) => {
            return Err(Refused(unsupported(&command).unwrap_or("it has no counterpart here")).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn compat(key: String) -> CompatArgs {
    CompatArgs { key: Some(PathBuf::from(key)), compat: Some(Compat::File), peer: None, aad: String::new() }
}

/// What of a user is kept here: a password and a name. The rest is refused rather than forgotten.
fn user_fields(fields: &[(String, String)]) -> anyhow::Result<(Option<&str>, Option<String>)> {
    let (mut password, mut names) = (None, Vec::new());
    for (name, value) in fields {
        match name.as_str() {
            "PASSWORD" => password = Some(value.as_str()),
            "NAME" | "DISPLAY_NAME" | "FIRST_NAME" | "LAST_NAME" => names.push(value.as_str()),
            // Mail addresses are kept by the accounts of the identity service.
            "EMAIL" | "USERNAME" => {}
            other => {
                anyhow::bail!("{other} is no field of a user: PASSWORD, NAME, FIRST_NAME and LAST_NAME are")
            }
        }
    }
    Ok((password, (!names.is_empty()).then(|| names.join(" "))))
}

async fn create_user(api: &Api, user: &str, fields: &[(String, String)]) -> anyhow::Result<()> {
    let (password, name) = user_fields(fields)?;
    let mut body = json!({ "id": user });
    if let Some(name) = name {
        body["display_name"] = name.into();
    }
    api.create(ResourceKind::Principal, &body).await?;
    if let Some(password) = password
        && let Err(error) = api.set_password(user, password).await
    {
        // Both or neither: a principal without its password would be there to be found.
        api.remove(ResourceKind::Principal, user)
            .await
            .context("it was made and could not be removed again")?;
        return Err(error.into());
    }
    Ok(())
}

async fn update_user(api: &Api, user: &str, fields: &[(String, String)]) -> anyhow::Result<()> {
    let (password, name) = user_fields(fields)?;
    if let Some(name) = name {
        api.change(ResourceKind::Principal, user, &json!({ "display_name": name })).await?;
    }
    if let Some(password) = password {
        api.set_password(user, password).await?;
    }
    Ok(())
}

async fn assign(api: &Api, role: &str, user: &str) -> anyhow::Result<()> {
    let principal = api.read(ResourceKind::Principal, user).await?;
    let mut roles: Vec<Value> = principal.get("roles").and_then(Value::as_array).cloned().unwrap_or_default();
    if !roles.iter().any(|held| held == role) {
        roles.push(role.into());
        api.change(ResourceKind::Principal, user, &json!({ "roles": roles })).await?;
    }
    Ok(())
}

/// The statement that a grant is: the resource is `KIND/ID`, `KIND`, or the pattern of an id.
fn rule(permission: &str, resource: &str, role: &str) -> anyhow::Result<Rule> {
    let action = match permission.to_ascii_lowercase().as_str() {
        "*" | "all" => ActionWord::Anything,
        "write" => ActionWord::Write,
        "execute" => ActionWord::One(cm_types::Action::Invoke),
        word => ActionWord::One(word.parse()?),
    };
    let pattern = |text: &str| Some(text.to_owned()).filter(|text| text != "*" && !text.is_empty());
    let (head, rest) = resource.split_once(['/', ':']).unwrap_or((resource, ""));
    let what = match head.parse::<ResourceKind>() {
        Ok(kind) => What { kind: Some(kind), pattern: pattern(rest) },
        Err(_) => What { kind: None, pattern: pattern(resource) },
    };
    let who = vec![Who::Role(role.to_owned())];
    Ok(Rule { effect: Effect::Allow, who, actions: vec![action], what: vec![what], when: None, unless: None })
}

fn statement(rule: Rule) -> Statement {
    Statement { at: Position::default(), above: Vec::new(), behind: None, apart: false, rule }
}

async fn change_grants(
    api: &Api,
    change: impl FnOnce(&mut Document) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut document = policy(api, GRANTS).await?.unwrap_or_default();
    change(&mut document)?;
    put_policy(api, GRANTS, &document).await
}

async fn policy(api: &Api, id: &str) -> anyhow::Result<Option<Document>> {
    let entry = match api.read(ResourceKind::PermissionPolicy, id).await {
        Ok(entry) => entry,
        Err(ClientError::Refused(refusal)) if refusal.status == 404 => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let source = entry.get("source").and_then(Value::as_str).unwrap_or_default();
    Ok(Some(pdl::parse(source)?))
}

async fn put_policy(api: &Api, id: &str, document: &Document) -> anyhow::Result<()> {
    let mut spec = Map::new();
    spec.insert("source".to_owned(), pdl::format(document).into());
    let declared = DeclaredResource {
        kind: ResourceKind::PermissionPolicy,
        id: id.to_owned(),
        name: None,
        labels: None,
        spec,
        if_absent: false,
    };
    api.apply(&[declared], false).await?;
    Ok(())
}

/// Decides what a file asks, each line as one of expected decisions, by the policies in force on the node.
async fn evaluate(path: &str, connection: &Connection) -> Outcome {
    let text = sealing::text(Path::new(path))?;
    let questions = text.lines().map(|line| match line.trim() {
        line if line.is_empty()
            || line.starts_with('#')
            || line.starts_with("allow ")
            || line.starts_with("deny ") =>
        {
            line.to_owned()
        }
        line => format!("allow {line}"),
    });
    let cases = CaseFile::parse(&questions.collect::<Vec<_>>().join("\n"))?;
    let api = connection.api()?;
    let mut documents = Vec::new();
    let query = cm_client::resources::ListQuery::default();
    for entry in api.list(ResourceKind::PermissionPolicy, &query).await?.items {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        if entry.get("enforced") == Some(&Value::Bool(true)) {
            documents.push((text("id"), pdl::parse(&text("source"))?));
        }
    }
    let named: Vec<(&str, &Document)> =
        documents.iter().map(|(id, document)| (id.as_str(), document)).collect();
    let compiled = Compiled::new(&named);
    for case in &cases.cases {
        let said = match compiled.judge(&case.request()) {
            Verdict::Silent => "denied: no statement allows it".to_owned(),
            Verdict::Allows(place) => format!("allowed by line {} of {}", place.line, place.policy),
            Verdict::Denies(place) => format!("denied by line {} of {}", place.line, place.policy),
        };
        output::line(&said);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_statement() {
        let check = |permission: &str, resource: &str, expected: &str| {
            let rule = rule(permission, resource, "doctor").unwrap();
            let document = Document { statements: vec![statement(rule)], closing: Vec::new() };
            assert_eq!(pdl::format(&document), format!("pdl 1\n\nallow role doctor to {expected}\n"));
        };
        check("read", "bucket/ct", "read on bucket \"ct\"");
        check("write", "object:ct/1.dcm", "write on object \"ct/1.dcm\"");
        check("execute", "functions/*", "invoke on function");
        check("*", "*", "do anything on anything");
        check("read", "scan-7", "read on anything \"scan-7\"");
        assert!(rule("fly", "bucket", "doctor").is_err());
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_name() {
        let commands =
            language::parse("CREATE SCOPE 's'\nGENERATE LICENSE FOR 'u' IN SCOPE 's'\nDELETE USER 'u'")
                .unwrap();
        let refused: Vec<bool> = commands.iter().map(|line| unsupported(&line.command).is_some()).collect();
        assert_eq!(refused, [true, true, false]);
        assert!(user_fields(&[("SHOE_SIZE".to_owned(), "44".to_owned())]).is_err());
    }
}
