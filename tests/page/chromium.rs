//! A headless Chromium that a test drives: its debugging protocol, over the pipe that it offers for that. One page, no
//! network but loopback.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::program::Room;

/// The longest any step of a browser may take: it starts a dozen processes on a machine that may have much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Messages go to its descriptor 3 and come from 4, a NUL behind each. The shell stays out of the way.
const START: &str = "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null";

/// The options that it needs in a container, and those that switch off what the tests do not need.
const OPTIONS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
    "about:blank",
];

pub(crate) struct Chromium {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    calls: u64,
    /// The errors of scripts, and the requests that the page's policy blocked.
    pub(crate) complaints: Vec<Value>,
}

impl Chromium {
    /// Starts it with a profile of its own and one empty page.
    pub(crate) fn new(room: &Room) -> Self {
        let profile = format!("--user-data-dir={}", room.file("profile").display());
        let mut child = Command::new("sh")
            .args(["-c", START, "chromium", &profile])
            .args(OPTIONS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(room.file("chromium.log")).unwrap())
            .spawn()
            .expect("there is a shell");
        let to = child.stdin.take().expect("it is piped");
        let pipe = child.stdout.take().expect("it is piped");
        let (sender, from) = channel();
        // Ends with the browser, or with whoever listens.
        std::thread::spawn(move || {
            for message in BufReader::new(pipe).split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).expect("it speaks JSON")).is_err() {
                    return;
                }
            }
        });
        let mut this = Self { child, to, from, session: None, calls: 0, complaints: Vec::new() };
        let page = this.page_target();
        this.attach(&page);
        this
    }

    /// Calls go to this page from now on.
    fn attach(&mut self, page: &Value) {
        let attached = self.call("Target.attachToTarget", json!({"targetId": page, "flatten": true}));
        self.session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Opens an address in a new tab, where calls go from now on.
    pub(crate) fn open_tab(&mut self, url: &str) {
        let made = self.call("Target.createTarget", json!({"url": url}));
        self.attach(&made["targetId"]);
    }

    fn page_target(&mut self) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let targets = self.call("Target.getTargets", json!({}));
            let mut targets = targets["targetInfos"].as_array().expect("a list").iter();
            if let Some(page) = targets.find(|target| target["type"] == "page") {
                return page["targetId"].clone();
            }
            assert!(Instant::now() < deadline, "it opens no page");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One call of the protocol; gives its result.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("chromium is installed (tests/setup.sh) and runs");
        loop {
            let said = self.from.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
            if said["id"] == self.calls {
                // The page that was asked may be left meanwhile; a page that is there again can be asked again.
                let left = said["error"]["message"] == "Inspected target navigated or closed";
                assert!(said["error"].is_null() || left, "{method}: {said}");
                return said["result"].clone();
            }
            let security = said["params"]["entry"]["source"] == "security";
            if said["method"] == "Runtime.exceptionThrown" || security {
                self.complaints.push(said);
            }
        }
    }

    /// Goes to an address.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    pub(crate) fn reload(&mut self) {
        self.call("Page.reload", json!({}));
    }

    /// Shows pages in a window of this size from now on: a narrow one is a phone's.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 700});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Prefers `light` or `dark` pages from now on.
    pub(crate) fn prefer(&mut self, theme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": theme});
        self.call("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// Presses a key and lets it go: Tab, Enter, Escape, Space, ArrowDown; with Shift for `Shift+Tab`.
    pub(crate) fn press(&mut self, key: &str) {
        let (shift, key) = key.strip_prefix("Shift+").map_or((0, key), |key| (8, key));
        let (name, code, text) = match key {
            "Tab" => ("Tab", 9, ""),
            "Enter" => ("Enter", 13, "\r"),
            "Escape" => ("Escape", 27, ""),
            "Space" => (" ", 32, " "),
            "ArrowDown" => ("ArrowDown", 40, ""),
            _ => panic!("{key} is not known"),
        };
        let mut event =
            json!({"type": "keyDown", "modifiers": shift, "key": name, "code": key, "windowsVirtualKeyCode": code});
        if !text.is_empty() {
            event["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", event.clone());
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", event);
    }

    /// Writes a text where the focus is.
    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// The value of an expression in the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page; an expression that throws counts as false.
    pub(crate) fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        let safe = format!("(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()");
        while self.eval(&safe) != true {
            if Instant::now() >= deadline {
                let text = self.eval("document.body.innerText");
                panic!("in vain: {expression}\n{}", text.as_str().unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
