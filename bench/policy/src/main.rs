//! Decisions a second on one core, by a policy of 1000 statements: the index of permission policies, the interpreter that it
//! is held to, and Cedar, in one run and by the same questions.
//!
//! Two workloads: `spread`, where statements are about many roles and buckets, as in an organisation, and `narrow`, where all
//! are about one role and one bucket, so that no index helps. Before anything is measured all three are asked every question,
//! and must decide alike.

use std::hint::black_box;
use std::str::FromStr;
use std::time::{Duration, Instant};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request as CedarRequest,
    RestrictedExpression,
};
use cm_policy::RoleFacts;
use cm_policy::pdl::{self, Circumstances, Compiled, Document, Request, Requester, Verdict};
use cm_types::{Action, Labels, ResourceId, ResourceKind};

const STATEMENTS: usize = 1000;
const QUESTIONS: usize = 1000;
const MEASURED: Duration = Duration::from_secs(3);

/// Who asks what, for all engines.
struct Question {
    user: String,
    role: String,
    bucket: String,
    key: String,
    action: Action,
    mfa: bool,
}

/// A statement, for all engines.
struct Line {
    deny: bool,
    role: String,
    action: Action,
    bucket: String,
    beginning: String,
    mfa: bool,
}

fn main() {
    println!(
        "{STATEMENTS} statements, {QUESTIONS} questions, one thread, {MEASURED:?} each, rates by the time of a core\n"
    );
    for (name, roles, buckets) in [("spread", 50, 100), ("narrow", 1, 1)] {
        workload(name, roles, buckets);
    }
}

fn workload(name: &str, roles: usize, buckets: usize) {
    let lines: Vec<Line> = (0..STATEMENTS).map(|nth| line(nth, roles, buckets)).collect();
    let questions: Vec<Question> =
        (0..QUESTIONS).map(|nth| question(nth, &lines, (roles, buckets))).collect();
    let text = document_text(&lines);
    let document = pdl::parse(&text).expect("the document is well formed");
    let documents: [(&str, &Document); 1] = [("bench", &document)];
    let compiled = Compiled::new(&documents);
    let prepared: Vec<Prepared> = questions.iter().map(Prepared::new).collect();
    let policies = PolicySet::from_str(&cedar_text(&lines)).expect("the policies are well formed");
    let cedar: Vec<(CedarRequest, Entities)> = questions.iter().map(cedar_question).collect();
    let authorizer = Authorizer::new();

    let mut allowed = 0;
    for (prepared, (request, entities)) in prepared.iter().zip(&cedar) {
        let ours = matches!(compiled.judge(&prepared.request()), Verdict::Allows(_));
        let theirs = authorizer.is_authorized(request, &policies, entities).decision() == Decision::Allow;
        let naive = matches!(pdl::interpret(&documents, &prepared.request()), Verdict::Allows(_));
        assert!(ours == theirs && ours == naive, "the engines decide otherwise");
        allowed += usize::from(ours);
    }
    let index = rate(|nth| {
        black_box(compiled.judge(&prepared[nth].request()));
    });
    let interpreter = rate(|nth| {
        black_box(pdl::interpret(&documents, &prepared[nth].request()));
    });
    let cedar = rate(|nth| {
        let (request, entities) = &cedar[nth];
        black_box(authorizer.is_authorized(request, &policies, entities).decision());
    });
    println!("{name}: {roles} roles, {buckets} buckets; {allowed} of {QUESTIONS} are allowed");
    println!("  index        {index:>12.0} decisions/s");
    println!(
        "  interpreter  {interpreter:>12.0} decisions/s, the index decides {:.1} times as many",
        index / interpreter
    );
    println!(
        "  Cedar        {cedar:>12.0} decisions/s, the index decides {:.1} times as many\n",
        index / cedar
    );
}

/// Decisions a second of a core's time, by going round the questions until the time is over. What others take of the core
/// does not count, so that figures of a busy machine are those of an idle one, as far as caches allow.
fn rate(mut decide: impl FnMut(usize)) -> f64 {
    (0..QUESTIONS).for_each(&mut decide);
    let (started, mut decided, used) = (Instant::now(), 0u32, computed());
    // The clock is looked at rarely, or it would be measured too.
    while started.elapsed() < MEASURED {
        for nth in 0..100 {
            decide((decided as usize + nth) % QUESTIONS);
        }
        decided += 100;
    }
    let taken = computed().zip(used).map_or(started.elapsed(), |(now, before)| now - before);
    f64::from(decided) / taken.as_secs_f64()
}

/// For how long this thread has computed; `None` where the system does not tell.
fn computed() -> Option<Duration> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn pick(nth: usize, salt: usize, below: usize) -> usize {
    // The finaliser of splitmix64, so that the same is drawn in each run.
    let mut mixed = (nth * 31 + salt) as u64;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ mixed >> 31) % below as u64) as usize
}

const ACTIONS: [Action; 4] = [Action::Read, Action::Create, Action::Delete, Action::List];

fn line(nth: usize, roles: usize, buckets: usize) -> Line {
    Line {
        deny: nth % 10 == 0,
        role: format!("role-{}", pick(nth, 1, roles)),
        action: ACTIONS[pick(nth, 2, ACTIONS.len())],
        bucket: format!("bucket-{}", pick(nth, 3, buckets)),
        beginning: format!("part-{}", pick(nth, 4, 400)),
        mfa: nth % 3 == 0,
    }
}

/// Every other question is one that some statement is about.
fn question(nth: usize, lines: &[Line], (roles, buckets): (usize, usize)) -> Question {
    let (user, mfa) = (format!("user-{nth}"), nth % 4 < 2);
    if nth.is_multiple_of(2) {
        let Line { role, bucket, beginning, action, .. } = &lines[pick(nth, 9, lines.len())];
        let (role, bucket, key) = (role.clone(), bucket.clone(), format!("{beginning}/file-{nth}"));
        return Question { user, role, bucket, key, action: *action, mfa };
    }
    Question {
        user,
        role: format!("role-{}", pick(nth, 5, roles)),
        bucket: format!("bucket-{}", pick(nth, 6, buckets)),
        key: format!("part-{}/file-{nth}", pick(nth, 7, 400)),
        action: ACTIONS[pick(nth, 8, ACTIONS.len())],
        mfa,
    }
}

fn document_text(lines: &[Line]) -> String {
    let mut text = String::from("pdl 1\n");
    for Line { deny, role, action, bucket, beginning, mfa } in lines {
        let effect = if *deny { "deny" } else { "allow" };
        let when = if *mfa { " when mfa" } else { "" };
        text.push_str(&format!(
            "{effect} role {role} to {action} on object \"{bucket}/{beginning}*\"{when}\n"
        ));
    }
    text
}

/// The same in Cedar: the bucket is the parent of its objects, a role that of its users.
fn cedar_text(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { deny, role, action, bucket, beginning, mfa } in lines {
        let effect = if *deny { "forbid" } else { "permit" };
        let mfa = if *mfa { " && context.mfa" } else { "" };
        text.push_str(&format!(
            "{effect}(principal in Role::\"{role}\", action == Action::\"{action}\", resource in Bucket::\"{bucket}\") \
             when {{ resource.key like \"{beginning}*\"{mfa} }};\n"
        ));
    }
    text
}

struct Prepared {
    user: String,
    roles: Vec<RoleFacts>,
    id: String,
    action: Action,
    labels: Labels,
    circumstances: Circumstances,
}

impl Prepared {
    fn new(question: &Question) -> Self {
        let id = ResourceId::parse(question.role.as_str()).expect("the role is an id");
        Self {
            user: question.user.clone(),
            roles: vec![RoleFacts { name: question.role.clone(), id, permissions: Vec::new() }],
            id: format!("{}/{}", question.bucket, question.key),
            action: question.action,
            labels: Labels::new(),
            circumstances: Circumstances { mfa: Some(question.mfa), ..Circumstances::default() },
        }
    }

    fn request(&self) -> Request<'_> {
        let (principal, tenant) = (Some(self.user.as_str()), Some("default"));
        let who = Requester { principal, tenant, roles: &self.roles, groups: &[], attributes: None };
        Request {
            who,
            action: self.action,
            kind: ResourceKind::Object,
            id: Some(&self.id),
            labels: &self.labels,
            is_owner: false,
            circumstances: &self.circumstances,
        }
    }
}

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_str(&format!("{kind}::\"{id}\"")).expect("the parts are plain")
}

fn cedar_question(question: &Question) -> (CedarRequest, Entities) {
    let (user, role, bucket) =
        (uid("User", &question.user), uid("Role", &question.role), uid("Bucket", &question.bucket));
    let object = uid("Object", &format!("{}/{}", question.bucket, question.key));
    let action = uid("Action", question.action.as_str());
    let key = RestrictedExpression::new_string(question.key.clone());
    let entities = Entities::from_entities(
        [
            Entity::new_no_attrs(user.clone(), [role.clone()].into()),
            Entity::new_no_attrs(role, [].into()),
            Entity::new_no_attrs(bucket.clone(), [].into()),
            Entity::new(object.clone(), [("key".to_owned(), key)].into(), [bucket].into())
                .expect("the attribute is a text"),
        ],
        None,
    );
    let context = Context::from_pairs([("mfa".to_owned(), RestrictedExpression::new_bool(question.mfa))]);
    let request = CedarRequest::new(user, action, object, context.expect("the pairs differ"), None);
    (request.expect("there is no schema to break"), entities.expect("the entities differ"))
}
