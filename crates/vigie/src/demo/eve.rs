//! Attacks in the form of Suricata's `eve.json`, made up here from a seed.
//!
//! The shape is Suricata's to the letter: one JSON object per line, a time stamp with microseconds
//! and an offset without a colon (so not RFC 3339), `alert` with `http` and `flow` beside it, plain
//! `http` and `flow` events between the alerts. Addresses are from the blocks that are reserved for
//! documentation. The names of the rules are those of the Emerging Threats and GPL rule sets; the
//! events around them are invented.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;

/// How far back the first events reach: a dashboard that opens at once shows something.
const BACKLOG_US: i64 = 30 * 60 * 1_000_000;
/// Events in that time.
const BACKLOG_EVENTS: usize = 120;
/// Address and name of the attacked host.
const SERVER: (&str, &str) = ("192.0.2.10", "api.koprogo.example");

/// A rule and a request that sets it off.
struct Rule {
    id: u32,
    signature: &'static str,
    category: &'static str,
    severity: u8,
    tag: &'static str,
    /// Path of the request; empty for a probe of a port.
    url: &'static str,
    status: u16,
}

const fn web(
    id: u32,
    signature: &'static str,
    tag: &'static str,
    url: &'static str,
    status: u16,
) -> Rule {
    Rule { id, signature, category: "Web Application Attack", severity: 1, tag, url, status }
}

const fn probe(id: u32, signature: &'static str, category: &'static str, severity: u8) -> Rule {
    Rule { id, signature, category, severity, tag: "Scan", url: "", status: 0 }
}

const RULES: [Rule; 10] = [
    web(
        2_006_446,
        "ET WEB_SERVER Possible SQL Injection Attempt UNION SELECT",
        "SQL_Injection",
        "/api/v1/buildings?id=7%20UNION%20SELECT%20email,salt%20FROM%20users",
        400,
    ),
    web(
        2_006_445,
        "ET WEB_SERVER Possible SQL Injection Attempt SELECT FROM",
        "SQL_Injection",
        "/api/v1/expenses?sort=(SELECT%20version()%20FROM%20pg_database)",
        400,
    ),
    web(
        2_008_538,
        "ET SCAN Sqlmap SQL Injection Scan",
        "SQL_Injection",
        "/api/v1/payments?order=1%27%20AND%20%271%27=%271",
        404,
    ),
    web(
        2_009_714,
        "ET WEB_SERVER Script tag in URI Possible Cross Site Scripting Attempt",
        "Cross_Site_Scripting",
        "/search?q=<script>fetch(1)</script>",
        404,
    ),
    web(
        2_009_715,
        "ET WEB_SERVER Onmouseover= in URI - Likely Cross Site Scripting Attempt",
        "Cross_Site_Scripting",
        "/profile?name=%22onmouseover=alert(7)",
        404,
    ),
    web(
        2_101_055,
        "GPL WEB_SERVER Tomcat directory traversal attempt",
        "Path_Traversal",
        "/static/%2e%2e/%2e%2e/WEB-INF/web.xml",
        404,
    ),
    web(
        2_012_230,
        "ET WEB_SERVER Likely Malicious Request for /proc/self/environ",
        "Local_File_Inclusion",
        "/download?file=../../../proc/self/environ",
        403,
    ),
    probe(3_400_002, "POSSBL PORT SCAN (NMAP -sS)", "Attempted Information Leak", 2),
    probe(2_010_937, "ET SCAN Suspicious inbound to mySQL port 3306", "Potentially Bad Traffic", 2),
    probe(2_001_219, "ET SCAN Potential SSH Scan", "Attempted Information Leak", 2),
];

/// The attackers, and how they pace themselves.
pub(super) struct Attacks {
    random: u64,
}

impl Attacks {
    pub(super) fn new(seed: u64) -> Self {
        Attacks { random: seed }
    }

    /// The events of the last half hour, oldest first.
    pub(super) fn backlog(&mut self, now_us: i64) -> String {
        let step = BACKLOG_US / BACKLOG_EVENTS as i64;
        let times = (1..=BACKLOG_EVENTS as i64).rev().map(|back| now_us - back * step);
        times.map(|time_us| self.next(time_us)).collect()
    }

    /// The next event: two of three are alerts. Ends with a line feed.
    pub(super) fn next(&mut self, time_us: i64) -> String {
        let rule = &RULES[self.below(RULES.len() as u64) as usize];
        let attacker = self.attacker();
        match self.below(6) {
            0 => self.harmless_request(time_us, &attacker),
            1 => self.closed_flow(time_us, &attacker),
            _ if rule.url.is_empty() => self.probe(time_us, &attacker, rule),
            _ => self.web_attack(time_us, &attacker, rule),
        }
    }

    /// How long until the next event: one to four seconds.
    pub(super) fn pause(&mut self) -> Duration {
        Duration::from_millis(1_000 + self.below(3_000))
    }

    /// A few attackers come often, many come once.
    fn attacker(&mut self) -> String {
        let few = self.below(10) < 6;
        if few {
            format!("203.0.113.{}", 20 + self.below(4))
        } else {
            format!("198.51.100.{}", 1 + self.below(250))
        }
    }

    fn web_attack(&mut self, time_us: i64, attacker: &str, rule: &Rule) -> String {
        let port = self.client_port();
        let (head, http) = (self.head(time_us, "alert"), http(rule.url, rule.status));
        let (alert, flow) = (alert(rule), self.flow(time_us, attacker, port, 443));
        format!(
            "{head}{},\"tx_id\":0,{alert},{http},\"app_proto\":\"http\",\"direction\":\"to_server\",{flow}}}\n",
            addresses(attacker, port, 443)
        )
    }

    fn probe(&mut self, time_us: i64, attacker: &str, rule: &Rule) -> String {
        let from = self.client_port();
        let to = match rule.id {
            2_001_219 => 22,
            2_010_937 => 3306,
            _ => [21, 23, 25, 110, 3389, 5432, 6379, 8080][self.below(8) as usize],
        };
        let head = self.head(time_us, "alert");
        let flow = self.flow(time_us, attacker, from, to);
        format!(
            "{head}{},{},\"direction\":\"to_server\",{flow}}}\n",
            addresses(attacker, from, to),
            alert(rule)
        )
    }

    fn harmless_request(&mut self, time_us: i64, client: &str) -> String {
        let port = self.client_port();
        let head = self.head(time_us, "http");
        let http = http("/api/v1/buildings", 200);
        format!("{head}{},\"tx_id\":0,{http}}}\n", addresses(client, port, 443))
    }

    fn closed_flow(&mut self, time_us: i64, client: &str) -> String {
        let (port, head) = (self.client_port(), self.head(time_us, "flow"));
        let start = timestamp(time_us - 27_000);
        let (sent, received) = (400 + self.below(900), 300 + self.below(9_000));
        format!(
            "{head}{},\"app_proto\":\"http\",\"flow\":{{\"pkts_toserver\":6,\"pkts_toclient\":4,\
             \"bytes_toserver\":{sent},\"bytes_toclient\":{received},\"start\":\"{start}\",\
             \"end\":\"{}\",\"age\":0,\"state\":\"closed\",\"reason\":\"timeout\",\"alerted\":false}},\
             \"tcp\":{{\"tcp_flags\":\"1b\",\"tcp_flags_ts\":\"1b\",\"tcp_flags_tc\":\"1b\",\
             \"syn\":true,\"fin\":true,\"psh\":true,\"ack\":true,\"state\":\"closed\"}}}}\n",
            addresses(client, port, 443),
            timestamp(time_us)
        )
    }

    /// Everything up to the addresses.
    fn head(&mut self, time_us: i64, kind: &str) -> String {
        format!(
            "{{\"timestamp\":\"{}\",\"flow_id\":{},\"in_iface\":\"eth0\",\"event_type\":\"{kind}\",",
            timestamp(time_us),
            self.bits() >> 12
        )
    }

    /// The flow that an alert belongs to, until now.
    fn flow(&mut self, time_us: i64, from: &str, from_port: u16, to_port: u16) -> String {
        let (sent, received) = (120 + self.below(700), 60 + self.below(2_000));
        format!(
            "\"flow\":{{\"pkts_toserver\":4,\"pkts_toclient\":3,\"bytes_toserver\":{sent},\
             \"bytes_toclient\":{received},\"start\":\"{}\",\"src_ip\":\"{from}\",\
             \"dest_ip\":\"{}\",\"src_port\":{from_port},\"dest_port\":{to_port}}}",
            timestamp(time_us - 18_000),
            SERVER.0
        )
    }

    fn client_port(&mut self) -> u16 {
        1_024 + self.below(60_000) as u16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// SplitMix64.
    fn bits(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

fn addresses(from: &str, from_port: u16, to_port: u16) -> String {
    format!(
        "\"src_ip\":\"{from}\",\"src_port\":{from_port},\"dest_ip\":\"{}\",\"dest_port\":{to_port},\
         \"proto\":\"TCP\",\"pkt_src\":\"wire/pcap\"",
        SERVER.0
    )
}

fn alert(rule: &Rule) -> String {
    format!(
        "\"alert\":{{\"action\":\"allowed\",\"gid\":1,\"signature_id\":{},\"rev\":8,\
         \"signature\":\"{}\",\"category\":\"{}\",\"severity\":{},\"metadata\":{{\
         \"attack_target\":[\"Web_Server\"],\"created_at\":[\"2010_07_30\"],\
         \"signature_severity\":[\"Major\"],\"tag\":[\"{}\"],\"updated_at\":[\"2020_09_13\"]}}}}",
        rule.id, rule.signature, rule.category, rule.severity, rule.tag
    )
}

fn http(url: &str, status: u16) -> String {
    format!(
        "\"http\":{{\"hostname\":\"{}\",\"url\":\"{url}\",\"http_user_agent\":\"Mozilla/5.0 (X11; \
         Linux x86_64) AppleWebKit/537.36\",\"http_content_type\":\"application/json\",\
         \"http_method\":\"GET\",\"protocol\":\"HTTP/1.1\",\"status\":{status},\"length\":23}}",
        SERVER.1
    )
}

/// Suricata's own form: microseconds, and an offset without a colon.
fn timestamp(time_us: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_microsecond(time_us) else { return String::new() };
    time.strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string()
}

/// The time now, in microseconds since 1970.
pub(super) fn now_us() -> i64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH);
    age.ok().and_then(|age| i64::try_from(age.as_micros()).ok()).unwrap_or(0)
}

/// Appends whole lines in one write, as Suricata does.
pub(super) fn append(path: &Path, lines: &str) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}
