//! A browser without a screen, driven by its own driver over WebDriver: the few calls that these tests need. Chromium,
//! and WebKit, whose pages Safari shows.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use serde_json::{Value, json};

/// How long a page may take for anything here.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The name under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser with one window and a profile of its own; ended when dropped.
pub struct Browser {
    /// The driver, and the screen that WebKit draws on, in the order in which they end.
    programs: Vec<Child>,
    session: String,
    agent: ureq::Agent,
    home: tempfile::TempDir,
}

fn started(command: &mut Command, package: &str) -> Child {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stderr(Stdio::null()).spawn();
    child.unwrap_or_else(|e| panic!("{program}: {e}; install the Debian package {package}"))
}

impl Browser {
    /// A Chromium whose user reads this language (`en-US`, `de-DE`), in a window of this size.
    pub fn chromium(language: &str, width: u32, height: u32) -> Self {
        let port = crate::support::free_address().port();
        let mut driver = Command::new("chromedriver");
        let driver = started(driver.arg(format!("--port={port}")).stdout(Stdio::null()), "chromium-driver");
        let browser = Self::driven_by(vec![driver], port);
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                "--no-first-run", "--disable-background-networking", "--force-device-scale-factor=1",
                format!("--user-data-dir={}", browser.home.path().join("profile").display()),
                format!("--accept-lang={language}"),
                format!("--window-size={width},{height}"),
            ],
            "prefs": {"intl.accept_languages": language, "download.default_directory": browser.home.path()},
        });
        browser.with(&json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}))
    }

    /// A WebKit: GTK's, in its own small browser, on a screen that nobody sees.
    pub fn webkit() -> Self {
        let mut screen = Command::new("Xvfb");
        screen.args(["-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]);
        let mut screen = started(screen.stdout(Stdio::piped()), "xvfb");
        // It says which number it got when it is ready.
        let mut number = String::new();
        BufReader::new(screen.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let port = crate::support::free_address().port();
        let mut driver = Command::new("WebKitWebDriver");
        driver.arg(format!("--port={port}")).stdout(Stdio::null());
        driver.env("DISPLAY", format!(":{}", number.trim_end()));
        driver.env("LIBGL_ALWAYS_SOFTWARE", "1").env_remove("WAYLAND_DISPLAY");
        let driver = started(&mut driver, "webkit2gtk-driver");
        Self::driven_by(vec![driver, screen], port).with(&json!({}))
    }

    fn driven_by(programs: Vec<Child>, port: u16) -> Self {
        let home = tempfile::Builder::new().prefix("browser").tempdir().unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        let browser = Self { programs, session: format!("http://127.0.0.1:{port}/session"), agent, home };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "the browser's driver does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        browser
    }

    fn with(mut self, capabilities: &Value) -> Self {
        let made = self.call("POST", "", &json!({"capabilities": {"alwaysMatch": capabilities}}));
        self.session = format!("{}/{}", self.session, made["sessionId"].as_str().unwrap());
        self
    }

    /// Where its downloads go.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn call(&self, method: &str, path: &str, value: &Value) -> Value {
        let uri = format!("{}{path}", self.session);
        let request = ureq::http::Request::builder().method(method).uri(&uri);
        let body = if method == "POST" { value.to_string() } else { String::new() };
        let mut answer = self.agent.run(request.body(body).unwrap()).unwrap();
        let text = answer.body_mut().with_config().limit(64 * 1024 * 1024).read_to_string().unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        assert!(answer.status().is_success(), "{method} {uri}: {text}");
        document["value"].take()
    }

    /// Opens a page.
    fn open(&self, url: &str) {
        self.call("POST", "/url", &json!({"url": url}));
    }

    /// Opens a page with a form of its script, and waits until that is there.
    pub fn open_form(&self, url: &str) {
        self.open(url);
        self.wait_for("the form", "document.getElementById('ways')");
    }

    /// Sizes the view as a phone's or a desktop's is, whatever the least window is.
    pub fn view(&self, width: u32, height: u32, dark: bool) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// Goes on in the window that was opened last, or back in the first.
    pub fn window(&self, last: bool) {
        let handles = self.call("GET", "/window/handles", &Value::Null);
        let all = handles.as_array().unwrap();
        let handle = if last { all.last() } else { all.first() };
        self.call("POST", "/window", &json!({"handle": handle.unwrap()}));
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.call("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// What a script's `return` gives.
    pub fn script(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    fn find(&self, selector: &str) -> String {
        let found = self.call("POST", "/element", &json!({"using": "css selector", "value": selector}));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks, as a person can: an element that is hidden or covered fails.
    pub fn click(&self, selector: &str) {
        self.call("POST", &format!("/element/{}/click", self.find(selector)), &json!({}));
    }

    /// Types into a field.
    pub fn type_into(&self, selector: &str, text: &str) {
        let path = format!("/element/{}/value", self.find(selector));
        self.call("POST", &path, &json!({"text": text}));
    }

    /// Types wherever the focus is; `\u{e004}` is the Tab key, `\u{e007}` Enter.
    pub fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
            })
            .collect();
        let keyboard = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.call("POST", "/actions", &keyboard);
    }

    /// The text of an element as it is shown.
    pub fn text(&self, selector: &str) -> String {
        let shown = self.call("GET", &format!("/element/{}/text", self.find(selector)), &Value::Null);
        shown.as_str().unwrap().to_owned()
    }

    /// Waits until a script returns true.
    pub fn wait_for(&self, what: &str, condition: &str) {
        let end = Instant::now() + PATIENCE;
        while self.script(&format!("return Boolean({condition})")) != json!(true) {
            if Instant::now() > end {
                let body = self.script("return document.body.innerText");
                panic!("{what}: not within {PATIENCE:?}; console: {:?}; page: {body}", self.console());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the page's console says since it was last asked: faults of scripts, and what the policy forbade.
    pub fn console(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", &json!({"type": "browser"}));
        log.as_array().unwrap().iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// The whole page as a picture.
    pub fn picture(&self, file: &Path) {
        let taken = self.devtools("Page.captureScreenshot", &json!({"captureBeyondViewport": true}));
        let octets = BASE64.decode(taken["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(file, octets).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser with the session.
        let request = ureq::http::Request::delete(&self.session);
        let _ = self.agent.run(request.body(()).unwrap());
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}
