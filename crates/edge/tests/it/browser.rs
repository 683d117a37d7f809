//! A real browser before the challenge.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dwcp_decide::ddos::{Action, Block, GuardPolicy, Target};
use dwcp_edge::guard::CHALLENGE_PATH;
use dwcp_edge::shield::{COOKIE, Secrets, Setup, Shield};
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;

use crate::endpoint::Endpoint;
use crate::stage::{Answer, Folder, Setting, Stage, service, until};

/// What a page asks for when a browser loads it.
const PAGE: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|program| program.is_file())
}

/// Debian's Chromium with nothing but this page; it ends with this.
struct Browser(Child);

impl Browser {
    fn open(program: PathBuf, folder: &Folder, host: &str, port: u16) -> Browser {
        let mut chromium = Command::new(program);
        chromium.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        chromium.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        chromium.arg(format!("--user-data-dir={}", folder.0.join("profile").display()));
        chromium.arg(format!("--host-resolver-rules=MAP {host} 127.0.0.1"));
        chromium.args(["--remote-debugging-port=0", &format!("http://{host}:{port}/wanted?by=browser")]);
        chromium.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Browser(chromium.spawn().unwrap())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shield that challenges everybody who wants this service.
fn challenging(service: &str) -> Arc<Shield> {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let actions = [Action::ChallengeResponse].into_iter().collect();
    let shield = Shield::new(Setup {
        router: "router-1".to_owned(),
        policy: GuardPolicy { actions, ..GuardPolicy::default() },
        secrets: Secrets { current: [3; 32], previous: None },
        seed: 5,
        geo: Box::new(|_| ("FR".parse().unwrap(), 0)),
        clock: Box::new(clock),
    });
    shield.set_blocks(vec![Block {
        id: "block-1".to_owned(),
        what: Target::Service(service.to_owned()),
        action: Action::ChallengeResponse,
        by: "ops".to_owned(),
        reason: String::new(),
        at_ms: clock(),
        until_ms: clock() + 3_600_000,
        attack: None,
        limit: None,
    }]);
    Arc::new(shield)
}

async fn ask(stage: &Stage, headers: &[(&str, &str)]) -> Answer {
    let asked = Request::get("/wanted").header(HOST, "shop.test");
    let asked = headers.iter().fold(asked, |asked, (name, value)| asked.header(*name, *value));
    stage.send(asked.body(Full::default()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_browser_passes_a_challenge_by_itself_and_a_script_does_not() {
    let Some(program) = chromium() else {
        eprintln!("skipped: no chromium; Debian: apt-get install chromium");
        return;
    };
    let shop = Endpoint::start("shop").await;
    let shield = challenging("shop");
    let setting = Setting { guard: shield.clone(), ..Setting::default() };
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;

    // What does not run the page gets no further, whatever it says that it is.
    assert_eq!(ask(&stage, &[("accept", "application/json")]).await.status, 429);
    let page = ask(&stage, &[("accept", PAGE), ("user-agent", "Mozilla/5.0")]).await;
    assert_eq!(page.status, 403);
    let form = Request::post(CHALLENGE_PATH).header(HOST, "shop.test").header("user-agent", "Mozilla/5.0");
    let token = page.body.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let form = form.body(Full::from(format!("token={}&answer=1&to=%2F", token.unwrap()))).unwrap();
    assert_eq!(stage.send(form).await.status, 403);
    assert!(shop.got().is_empty());

    let before = shield.report().counters;
    let (port, folder) = (stage.http().port(), Folder::new());
    let browser = Browser::open(program, &folder, "shop.test", port);
    until("the browser is asked", || shield.report().counters != before).await;
    let asked = Instant::now();
    let got = || shop.got().into_iter().find(|got| got.line.contains("/wanted?by=browser"));
    until("the browser is served", || got().is_some()).await;
    eprintln!("served {} ms after it was asked", asked.elapsed().as_millis());
    drop(browser);
    let got = got().unwrap();
    // What it was given is good for itself only.
    let cookie = got.header("cookie").filter(|cookie| cookie.contains(COOKIE)).unwrap();
    let agent = got.header("user-agent").unwrap();
    let forged = cookie.replace("=1.", "=1.f");
    // Another page, or, when it asks too often, none.
    for (cookie, agent) in [(cookie, "Mozilla/5.0"), (&forged, agent)] {
        let refused = ask(&stage, &[("accept", PAGE), ("cookie", cookie), ("user-agent", agent)]).await;
        assert!([403, 429].contains(&refused.status), "{refused:?}");
    }
    let own = ask(&stage, &[("accept", PAGE), ("cookie", cookie), ("user-agent", agent)]).await;
    assert_eq!(own.status, 200);
}
