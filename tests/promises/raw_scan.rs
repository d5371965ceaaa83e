//! What lies on the disk, in the log at its most talkative and in the metrics says nothing about anybody: no word of a chat, no byte
//! of a recording, no customer, case, agent, team or tag, no token, and no eight bytes of any key.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use oubliette::api::v1;
use oubliette::crypto::secret::KEY_BYTES;
use oubliette::domain::codec::{hex, unhex};

use crate::fixture::{Server, files_below, free_port, metrics_at, oubliette, token_for};
use crate::loot::Loot;
use crate::paper::{Paper, code, erase};
use crate::tell;

const TENANT: &str = "acme";
const PURPOSE: &str = "support";
const AGENT: &str = "Agentin-Wolkenkuckucksheim";
const TEAM: &str = "Team-Schattenmorelle-West";
/// Leaves at least that many bytes of a recording together.
const EMERGENCY: &str = "the-ambulance-is-on-its-way";
const STORY: &str = "Rumpelstilzchen sang: heute back ich, morgen brau ich, uebermorgen hol ich mir das Kind.";
const WINDOW: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_and_no_piece_of_a_key_lies_on_the_disk_in_the_log_or_in_the_metrics() {
    let port = free_port();
    let metrics = format!("\"127.0.0.1:{port}\"");
    let settings = [
        ("log.level", "\"trace\""),
        ("metrics.address", &metrics),
        ("limits.part_bytes", "65536"),
        ("mirrors.directories", "[\"mirror\"]"),
        ("mirrors.keys_only", "[\"mirror-of-keys\"]"),
    ];
    let mut server = Server::make(&settings);
    for mirror in ["mirror", "mirror-of-keys"] {
        oubliette::vault::create_mirror(&server.dir().join(mirror)).unwrap();
    }
    server.restart().await;
    let mut needles = Needles::default();
    let tokens = people(&server, &mut needles).await;
    let (stays, goes) = (Planted::new("Frau-Holle"), Planted::new("Herr-Doctor-Allwissend"));
    for planted in [&stays, &goes] {
        planted.plant_and_read(&server, &tokens).await;
        planted.texts().into_iter().for_each(|text| needles.add_text(text));
    }
    make_mistakes(&server, &tokens, &stays).await;
    let mut shown = vec![metrics_at(port)];
    assert_eq!(server.stop().await.code(), Some(0));
    needles.add_all_keys(&server);
    let keys_before = needles.keys;

    server.restart().await;
    // Callers name requests as they like, also after the person.
    let request_id = "erase-Allwissend-1970-01-01";
    needles.add_text(request_id);
    erase(&server.client(&tokens[2]).await, &goes.customer, request_id.to_owned()).await.unwrap();
    stays.read(&server, &tokens[1]).await;
    shown.push(metrics_at(port));
    assert_eq!(server.stop().await.code(), Some(0));
    needles.add_all_keys(&server);

    assert!(shown.iter().all(|metrics| metrics.contains("# EOF")), "{shown:?}");
    let mut scanned = Scanned::default();
    shown.iter().for_each(|metrics| scanned.scan(&needles, "the metrics", metrics.as_bytes()));
    scanned.scan_file(&needles, &server.log_file());
    scanned.scan_file(&needles, &server.log_file().with_file_name("stderr"));
    let copied =
        oubliette(&["backup", "--to"]).arg(server.dir().join("backup")).arg("--config").arg(server.config()).output();
    assert!(copied.unwrap().status.success());
    for folder in ["data", "mirror", "mirror-of-keys", "backup"] {
        let files = files_below(&server.dir().join(folder));
        assert!(files.len() > 1, "nothing in {folder}");
        files.iter().for_each(|file| scanned.scan_file(&needles, file));
    }
    tell(&format!(
        "raw scan: {} texts in {} forms, {} keys before and after the erasure ({} windows); {} files, {} bytes",
        needles.texts,
        needles.forms.len(),
        needles.keys,
        needles.windows.len(),
        scanned.files,
        scanned.bytes
    ));
    assert!(scanned.found.is_empty(), "found:\n{:#?}", scanned.found);
    assert!(keys_before > 20 && needles.keys > keys_before && scanned.bytes > 300_000, "too little was looked at");
}

#[test]
fn the_scanner_finds_what_is_planted() {
    let mut needles = Needles::default();
    needles.add_text(AGENT);
    let key: [u8; KEY_BYTES] = std::array::from_fn(|at| (at as u8).wrapping_mul(37) ^ 0xa5);
    needles.add_key(&key);
    let utf16 = |to_bytes: fn(u16) -> [u8; 2]| AGENT.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
    let upper = hex(AGENT.as_bytes()).to_uppercase();
    let base64 = |before: &str| base64(format!("{before}{AGENT}, she said").as_bytes()).into_bytes();
    let mut planted = vec![
        AGENT.as_bytes().to_vec(),
        AGENT.to_lowercase().into_bytes(),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
        hex(AGENT.as_bytes()).into_bytes(),
        upper.into_bytes(),
        base64(""),
        base64("x"),
        base64("xy"),
    ];
    for start in 0..=KEY_BYTES - WINDOW {
        let window = &key[start..start + WINDOW];
        planted.extend([window.to_vec(), hex(window).into_bytes(), hex(window).to_uppercase().into_bytes()]);
    }
    for needle in planted {
        for before in [0, 1, 7, 4096] {
            let haystack = [vec![b'~'; before], needle.clone(), vec![b'~'; 9]].concat();
            let mut scanned = Scanned::default();
            scanned.scan(&needles, "a haystack", &haystack);
            assert!(!scanned.found.is_empty(), "not found: {needle:?} behind {before}");
        }
    }
    let mut scanned = Scanned::default();
    scanned.scan(&needles, "no haystack", &[&key[..WINDOW - 1], &AGENT.as_bytes()[1..]].concat());
    assert!(scanned.found.is_empty(), "found what is not there: {:?}", scanned.found);
}

/// What is known about one person.
struct Planted {
    customer: String,
    case: String,
    tag: String,
    media_type: String,
    chat: Paper,
    recording: Paper,
}

impl Planted {
    fn new(name: &str) -> Self {
        let mut sound = Vec::new();
        while sound.len() < 150_000 {
            sound.extend_from_slice(STORY.as_bytes());
            sound.extend_from_slice(name.as_bytes());
        }
        Self {
            customer: format!("customer-{name}-0815"),
            case: format!("case-of-{name}-4711"),
            tag: format!("tag-of-{name}"),
            media_type: format!("audio/x-{}-format", name.to_lowercase()),
            chat: Paper::Chat(vec![format!("{STORY} {name} speaking, my card was charged twice"), STORY.to_owned()]),
            recording: Paper::Recording(sound),
        }
    }

    fn texts(&self) -> [&str; 7] {
        [&self.customer, &self.case, &self.tag, &self.media_type[8..], STORY, "my card was charged twice", EMERGENCY]
    }

    fn details(&self) -> v1::RecordDetails {
        v1::RecordDetails {
            agent: AGENT.to_owned(),
            case_id: self.case.clone(),
            team: TEAM.to_owned(),
            purposes: vec![PURPOSE.to_owned()],
            tags: vec![self.tag.clone()],
            ..crate::paper::details(&self.customer)
        }
    }

    /// Stores a chat and a recording, and reads and finds them in every way.
    async fn plant_and_read(&self, server: &Server, [ingest, agent, officer]: &[String; 3]) {
        let client = server.client(ingest).await;
        let (Paper::Chat(texts), Paper::Recording(sound)) = (&self.chat, &self.recording) else { unreachable!() };
        let request = v1::CreateTranscriptRequest {
            request_id: format!("chat-{}", self.case),
            details: Some(self.details()),
            turns: crate::paper::turns(texts),
        };
        let stored = client.create_transcript(request).await.unwrap().record_id;
        let request = v1::ReviseTranscriptRequest {
            request_id: format!("revised-{}", self.case),
            record_id: stored,
            base_revision: 1,
            details: Some(self.details()),
            turns: crate::paper::turns(texts),
        };
        client.revise_transcript(request).await.unwrap();
        let about = v1::RecordingMetadata {
            request_id: format!("call-{}", self.case),
            details: Some(self.details()),
            media_type: self.media_type.clone(),
            ..Default::default()
        };
        client.upload_recording(about, sound.as_slice(), 50_000, |_| {}).await.unwrap();
        let assignment = v1::CaseAssignment {
            customer_id: self.customer.clone(),
            case_id: self.case.clone(),
            principal: AGENT.to_owned(),
            expires_at: Some(crate::wire::from_now(3_600)),
        };
        client.assign_case(v1::AssignCaseRequest { assignment: Some(assignment) }).await.unwrap();
        let (customer_id, reason) = (self.customer.clone(), EMERGENCY.to_owned());
        let broken = v1::BreakGlassRequest { customer_id, reason, seconds: 600 };
        server.client(agent).await.break_glass(broken).await.unwrap();
        // The names of who asks and who approves are stored.
        let ground = v1::ApprovalGround::Incident.into();
        let more = v1::RequestApprovalRequest { reads: 9, ground, ..Default::default() };
        let approval = server.client(agent).await.request_approval(more).await.unwrap().approval.unwrap();
        let given = v1::GiveApprovalRequest { approval_id: approval.approval_id };
        server.client(officer).await.give_approval(given).await.unwrap();
        self.read(server, agent).await;
    }

    async fn read(&self, server: &Server, agent: &str) {
        let client = server.client(agent).await;
        let all = v1::ListRecordsRequest { page_size: 10, purpose: PURPOSE.to_owned(), ..Default::default() };
        let by_agent = v1::ListRecordsRequest { agent: AGENT.to_owned(), ..all.clone() };
        let by_customer = v1::ListRecordsRequest { customer_id: self.customer.clone(), ..all };
        let by_case = v1::ListRecordsRequest { case_id: self.case.clone(), ..by_customer.clone() };
        assert!(!client.list_records(by_agent).await.unwrap().records.is_empty());
        assert_eq!(client.list_records(by_customer).await.unwrap().records.len(), 2);
        let records = client.list_records(by_case).await.unwrap().records;
        assert_eq!(records.len(), 2);
        for record in records {
            let paper = if record.kind() == v1::RecordKind::Transcript { &self.chat } else { &self.recording };
            paper.assert_there(&client, &self.customer, &record.record_id).await;
            let request =
                v1::GetRecordRequest { record_id: record.record_id, purpose: PURPOSE.to_owned(), ..Default::default() };
            client.get_record(request).await.unwrap();
        }
    }
}

/// A tenant with a team and an agent that nobody confuses with anything; the tokens of ingest, agent and privacy officer.
async fn people(server: &Server, needles: &mut Needles) -> [String; 3] {
    let admin = server.admin_client().await;
    let settings = v1::TenantSettings {
        purposes: vec![PURPOSE.to_owned()],
        retention_default_days: 0,
        rule_set: "gdpr".to_owned(),
        teams: vec![TEAM.to_owned()],
        quotas: None,
    };
    let create = v1::CreateTenantRequest { name: TENANT.to_owned(), settings: Some(settings) };
    admin.create_tenant(create).await.unwrap();
    let tokens = [
        token_for(&admin, TENANT, "loader", v1::Role::Ingest, &[]).await,
        token_for(&admin, TENANT, AGENT, v1::Role::Agent, &[TEAM]).await,
        token_for(&admin, TENANT, "Petra-Privatissima", v1::Role::PrivacyOfficer, &[]).await,
    ];
    // Reads everything, and can break the glass.
    let roles = vec![v1::Role::Agent.into(), v1::Role::Supervisor.into()];
    let principal =
        Some(v1::Principal { name: AGENT.to_owned(), roles, teams: vec![TEAM.to_owned()], ..Default::default() });
    admin.set_principal(v1::SetPrincipalRequest { tenant: TENANT.to_owned(), principal }).await.unwrap();
    [AGENT, TEAM, "Petra-Privatissima"].into_iter().for_each(|text| needles.add_text(text));
    for token in tokens.iter().map(String::as_str).chain([server.admin_token().trim()]) {
        let secret = token.rsplit('_').next().unwrap();
        needles.add_text(token);
        needles.add_text(secret);
        needles.add_key(&unhex(secret).unwrap());
    }
    tokens
}

/// Calls that are refused, with personal things in them: nothing of them may be logged either.
async fn make_mistakes(server: &Server, tokens: &[String; 3], planted: &Planted) {
    let agent = server.client(&tokens[1]).await;
    let refused = planted.chat.put(&agent, &planted.customer, "not-for-agents".to_owned()).await;
    assert_eq!(code(refused), tonic::Code::PermissionDenied);
    let ingest = server.client(&tokens[0]).await;
    let too_long = format!("{}{}", planted.customer, "x".repeat(10_000));
    assert_eq!(code(planted.chat.put(&ingest, &too_long, "too-long-1".to_owned()).await), tonic::Code::InvalidArgument);
    let mut details = planted.details();
    details.team = format!("{TEAM}-unknown");
    let request = v1::CreateTranscriptRequest {
        request_id: "unknown-team".to_owned(),
        details: Some(details),
        turns: crate::paper::turns(&[STORY.to_owned()]),
    };
    assert!(ingest.create_transcript(request).await.is_err());
    let almost = tokens[1].replace(['0', '1', '2', '3'], "4");
    let stranger = server.client(&almost).await;
    assert_eq!(code(crate::paper::list(&stranger, &planted.customer).await), tonic::Code::Unauthenticated);
}

/// What must be found nowhere.
#[derive(Default)]
struct Needles {
    /// All forms of all texts in small letters, each with the text.
    forms: BTreeSet<(Vec<u8>, String)>,
    texts: usize,
    /// All eight bytes of all keys.
    windows: HashSet<u64>,
    keys: usize,
}

impl Needles {
    fn add_text(&mut self, text: &str) {
        assert!(text.len() >= 14, "too short to be found by chance: {text}");
        self.texts += 1;
        let wide = |to_bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
        let mut add = |form: Vec<u8>| self.forms.extend([(form.to_ascii_lowercase(), text.to_owned())]);
        add(text.as_bytes().to_vec());
        add(wide(u16::to_le_bytes));
        add(wide(u16::to_be_bytes));
        add(hex(text.as_bytes()).into_bytes());
        // Base64 depends on where in three bytes the text begins; what depends on its neighbours is cut off.
        for before in 0..3 {
            let shifted = base64(&[&vec![b'-'; before], text.as_bytes()].concat());
            let whole = (before + text.len()) / 3 * 4;
            let form = shifted[if before == 0 { 0 } else { 4 }..whole].to_owned();
            add(form.replace('+', "-").replace('/', "_").into_bytes());
            add(form.into_bytes());
        }
    }

    fn add_key(&mut self, key: &[u8; KEY_BYTES]) {
        self.keys += 1;
        self.windows.extend(key.windows(WINDOW).map(|window| u64::from_be_bytes(window.try_into().unwrap())));
    }

    /// The root keys in their file, and all keys below them.
    fn add_all_keys(&mut self, server: &Server) {
        let file = fs::read_to_string(server.root_key()).unwrap();
        let root_keys: Vec<_> =
            file.lines().filter_map(|line| unhex(line.trim().strip_prefix("key ")?.rsplit(' ').next()?)).collect();
        assert_eq!(root_keys.len(), 1, "the provider holds one key");
        root_keys.iter().for_each(|key| self.add_key(key));
        let signing = fs::read_to_string(server.signing_key()).unwrap();
        let seeds: Vec<_> = signing.lines().filter_map(|line| unhex(line.strip_prefix("key ")?)).collect();
        assert_eq!(seeds.len(), 1, "one key signs the log");
        seeds.iter().for_each(|key| self.add_key(key));
        let loot = Loot::open(&server.data_dir(), &server.root_key());
        loot.keys().iter().for_each(|key| self.add_key(key.expose()));
    }
}

/// What was looked at, and what was found.
#[derive(Default)]
struct Scanned {
    files: usize,
    bytes: usize,
    found: Vec<String>,
}

impl Scanned {
    fn scan_file(&mut self, needles: &Needles, path: &Path) {
        let name = path.display().to_string();
        self.scan(needles, &name, name.as_bytes());
        self.scan(needles, &name, &fs::read(path).unwrap());
        self.files += 1;
    }

    fn scan(&mut self, needles: &Needles, name: &str, bytes: &[u8]) {
        self.bytes += bytes.len();
        let small = bytes.to_ascii_lowercase();
        for (form, text) in &needles.forms {
            if let Some(at) = position(&small, form) {
                let context =
                    String::from_utf8_lossy(&bytes[at.saturating_sub(80)..(at + 80).min(bytes.len())]).into_owned();
                self.found.push(format!("`{text}` in {name} at {at}: {context}"));
            }
        }
        for at in key_windows(&needles.windows, bytes) {
            self.found.push(format!("eight bytes of a key in {name} at {at}"));
        }
    }
}

/// Where a needle begins. Goes from one rare byte to the next: these files are long and this is not optimised code.
fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(step) = haystack.get(from..)?.iter().position(|byte| *byte == needle[0]) {
        from += step;
        if haystack[from..].starts_with(needle) {
            return Some(from);
        }
        from += 1;
    }
    None
}

/// Where eight bytes of a key end, as they are or in hexadecimal digits.
fn key_windows(windows: &HashSet<u64>, bytes: &[u8]) -> Vec<usize> {
    let (mut raw, mut digits, mut count) = (0_u64, 0_u64, 0);
    let mut found = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        raw = raw << 8 | u64::from(*byte);
        match char::from(*byte).to_digit(16) {
            Some(digit) => (digits, count) = (digits << 4 | u64::from(digit), count + 1),
            None => count = 0,
        }
        let is_found = at + 1 >= WINDOW && windows.contains(&raw) || count >= 2 * WINDOW && windows.contains(&digits);
        if is_found {
            found.push(at);
        }
    }
    found
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |number, at| number << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
