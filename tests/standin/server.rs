//! A stand-in for the Vieter server that behaves as the real one (0.2) was measured to: what it answers, what it
//! leaves out, and that it keeps real packages in a real pacman database (made by `repo-add`).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;
use serde_json::{Map, Value, json};

/// A running server. Its threads end with the process.
#[derive(Clone)]
pub struct Standin {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    dir: PathBuf,
    key: Mutex<String>,
    /// The list, in its order, as `(uuid, repository)`.
    repos: Mutex<Vec<(String, Value)>>,
    /// Who files a package; tests hold it, too.
    filing: Mutex<()>,
    /// The packages that are being published.
    publishing: Mutex<Vec<String>>,
    /// How many were received, which names their files.
    received: AtomicUsize,
    /// Whether one package was published twice at once, which the real one doesn't survive: nothing is answered any more.
    is_wedged: AtomicBool,
    /// What was published, in its order: each time, however often.
    accepted: Mutex<Vec<String>>,
    requests: Mutex<Vec<String>>,
    requested: Condvar,
    faults: Mutex<HashMap<String, Fault>>,
    /// Whether it is a newer one (0.5), with targets instead of repos.
    is_newer: AtomicBool,
}

/// What is answered in place of what would be, to so many requests after the first so many.
#[derive(Clone)]
struct Fault {
    answer: String,
    after: usize,
    times: usize,
    then: Then,
}

/// What a fault does besides its answer.
#[derive(Clone, Copy, PartialEq)]
#[allow(dead_code)]
pub enum Then {
    /// The request isn't read any further, and the connection is closed.
    Close,
    /// Nothing more comes, and the connection stays.
    Hang,
    /// The answer goes on for ever, a byte at a time.
    Drip,
    /// What was asked for had been done before.
    Done,
    /// Half of the upload is read, and filed as if it were all of it; then the connection is closed.
    Part,
    /// What was asked for is done and answered, the request being read at 100 kB/s.
    Slow,
    /// The connection stays until another request has come on it, which is read to its end. It is closed then, without an answer.
    Keep,
    /// The same, but that of the other request nothing more than its head is read, and that the connection is reset.
    KeepAndReset,
}

const DEFAULT_ARCH: &str = std::env::consts::ARCH;

struct Request {
    method: String,
    path: String,
    query: HashMap<String, String>,
    headers: HashMap<String, String>,
}

impl Request {
    fn segments(&self) -> Vec<&str> {
        self.path.split('/').skip(1).collect()
    }

    /// How long its body is, if it says so.
    fn length(&self) -> Option<u64> {
        let length = self.headers.get("content-length")?;
        Some(length.parse().unwrap_or(0))
    }
}

/// Reads 100 kB/s.
struct Slow<R>(R);

impl<R: Read> Read for Slow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(10));
        let most = buffer.len().min(1000);
        self.0.read(&mut buffer[..most])
    }
}

impl Standin {
    /// Serves what is, and will be, below `dir`.
    pub fn start(listen: &str, dir: &Path, key: &str) -> io::Result<Standin> {
        fs::create_dir_all(dir)?;
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            dir: dir.to_owned(),
            key: Mutex::new(key.to_owned()),
            repos: Mutex::default(),
            filing: Mutex::default(),
            publishing: Mutex::default(),
            received: AtomicUsize::new(0),
            is_wedged: AtomicBool::new(false),
            accepted: Mutex::default(),
            requests: Mutex::default(),
            requested: Condvar::new(),
            faults: Mutex::default(),
            is_newer: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || {
                    // A client that goes away is its own business.
                    let _ = state.serve(stream);
                });
            }
        });
        Ok(Standin { address, state })
    }
}

/// What tests turn and look at.
#[allow(dead_code)]
impl Standin {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts an entry at the end of the list, without the checks of `POST /api/repos`.
    pub fn list(&self, entry: Value) {
        let mut repos = self.state.repos.lock().unwrap();
        // Descending, so that a client that sorts by id is found out.
        let uuid = format!("{:08x}-0000-4000-8000-000000000000", 0xffff - repos.len());
        repos.push((uuid, entry));
    }

    /// Becomes a newer server (0.5), whose list has targets.
    pub fn become_newer(&self) {
        self.state.is_newer.store(true, Ordering::Relaxed);
    }

    pub fn clear_list(&self) {
        self.state.repos.lock().unwrap().clear();
    }

    pub fn set_key(&self, key: &str) {
        *self.state.key.lock().unwrap() = key.to_owned();
    }

    /// Takes the requests since the last call, as `METHOD /path`.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().unwrap())
    }

    /// Those of the requests since that call that start with `METHOD /path`.
    pub fn asked_for(&self, start: &str) -> Vec<String> {
        let requests = self.state.requests.lock().unwrap();
        let asked = requests.iter().filter(|it| it.starts_with(start));
        asked.cloned().collect()
    }

    /// Waits until a request that starts with `METHOD /path` has come.
    pub fn wait_for(&self, start: &str) {
        let requests = self.state.requests.lock().unwrap();
        let has_not_come = |all: &mut Vec<String>| !all.iter().any(|it| it.starts_with(start));
        let bound = std::time::Duration::from_secs(400);
        let requested = &self.state.requested;
        let waited = requested.wait_timeout_while(requests, bound, has_not_come);
        assert!(!waited.unwrap().1.timed_out(), "no {start} has come");
    }

    /// Keeps packages from being filed as long as the answer lives.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.state.filing.lock().unwrap()
    }

    /// Waits until one package was published twice at once.
    pub fn wait_until_wedged(&self) {
        let requests = self.state.requests.lock().unwrap();
        let is_well = |_: &mut Vec<String>| !self.state.is_wedged.load(Ordering::Relaxed);
        let bound = Duration::from_secs(400);
        let requested = &self.state.requested;
        let waited = requested.wait_timeout_while(requests, bound, is_well);
        assert!(!waited.unwrap().1.timed_out(), "nothing has wedged it");
    }

    /// Serves this text as `/<repo>/<arch>/<file>`.
    pub fn put(&self, repo: &str, arch: &str, file: &str, text: &str) {
        let dir = self.state.dir.join(repo).join(arch);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(file), text).unwrap();
    }

    /// From now on, answers requests that start with `METHOD /path` with these raw bytes, or, if there are
    /// none, by closing the connection.
    pub fn fault(&self, start: &str, answer: &str) {
        self.fault_for(start, answer, Then::Close, 0, usize::MAX);
    }

    /// The same, for so many requests after the first so many.
    pub fn fault_for(&self, start: &str, answer: &str, then: Then, after: usize, times: usize) {
        let answer = answer.to_owned();
        let fault = Fault {
            answer,
            after,
            times,
            then,
        };
        let mut faults = self.state.faults.lock().unwrap();
        faults.insert(start.to_owned(), fault);
    }

    pub fn clear_faults(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// What was published, as `name version`, each time that it was.
    pub fn accepted(&self) -> Vec<String> {
        self.state.accepted.lock().unwrap().clone()
    }

    /// The names of the archives of a repository.
    pub fn published(&self, repo: &str) -> Vec<String> {
        let dir = self.state.dir.join(repo).join(DEFAULT_ARCH);
        let mut files: Vec<String> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|file| file.contains(".pkg.tar"))
            .collect();
        files.sort();
        files
    }

    /// Where an archive of a repository is.
    pub fn file(&self, repo: &str, file: &str) -> PathBuf {
        self.state.dir.join(repo).join(DEFAULT_ARCH).join(file)
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let Some(request) = read_request(&mut reader)? else {
            return Ok(());
        };
        // Before anybody hears of the request, and may change the key.
        let authorised = request.headers.get("x-api-key") == Some(&self.key.lock().unwrap());
        let line = self.note(&request);
        self.hang_if_wedged();
        let out = &stream;
        match self.take_fault(&line) {
            None => self.answer(&request, authorised, &mut reader, out),
            Some(Fault {
                then: Then::Slow, ..
            }) => self.answer(&request, authorised, &mut Slow(reader), out),
            Some(fault) => self.fail(&request, &fault, &mut reader, out),
        }
    }

    /// Lets everybody hear of a request; gives its line.
    fn note(&self, request: &Request) -> String {
        let line = format!("{} {}", request.method, request.path);
        self.requests.lock().unwrap().push(line.clone());
        self.requested.notify_all();
        line
    }

    /// The fault that a request meets.
    fn take_fault(&self, line: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let mut matching = faults
            .iter_mut()
            .filter(|(start, _)| line.starts_with(*start));
        let (_, fault) = matching.next()?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times = fault.times.checked_sub(1)?;
        Some(fault.clone())
    }

    /// As measured, but that the file is named so that it can be found.
    fn keep_log(
        &self,
        out: &TcpStream,
        request: &Request,
        reader: &mut dyn Read,
    ) -> io::Result<()> {
        let query = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        let [target, start, end] =
            ["target", "startTime", "endTime"].map(|it| query(it).parse::<u64>().unwrap_or(0));
        let Some(length) = request.length() else {
            return answer(out, 411, "text/plain", b"");
        };
        let mut log = vec![];
        reader.take(length).read_to_end(&mut log)?;
        if target == 0 || target > self.repos.lock().unwrap().len() as u64 {
            return message(out, 400, "Unknown target.");
        }
        if start == 0 || end < start || query("exitCode").is_empty() {
            return message(out, 400, "Invalid or missing start time.");
        }
        let dir = self.dir.join("logs");
        fs::create_dir_all(&dir)?;
        let name = format!("{target}-{}-{}", query("arch"), query("exitCode"));
        fs::write(dir.join(name), log)?;
        answer(out, 200, "application/json", br#"{"message":"","data":1}"#)
    }

    fn fail(
        &self,
        request: &Request,
        fault: &Fault,
        reader: &mut dyn BufRead,
        mut out: &TcpStream,
    ) -> io::Result<()> {
        let length = request.length().unwrap_or(0);
        let taken = match fault.then {
            Then::Done => Some(length),
            Then::Part => Some(length / 2),
            _ => None,
        };
        if let (Some(taken), [repo, "publish"]) = (taken, request.segments().as_slice()) {
            self.publish(repo, taken, reader)?;
        }
        out.write_all(fault.answer.as_bytes())?;
        match fault.then {
            Then::Drip => loop {
                thread::sleep(Duration::from_millis(50));
                out.write_all(b".")?;
            },
            Then::Hang => loop {
                thread::park();
            },
            Then::Keep | Then::KeepAndReset => {
                let mut reader = reader;
                let Some(next) = read_request(&mut reader)? else {
                    return Ok(());
                };
                self.note(&next);
                if fault.then == Then::KeepAndReset {
                    return Ok(sockopt::set_socket_linger(out, Some(Duration::ZERO))?);
                }
                let mut body = reader.take(next.length().unwrap_or(0));
                io::copy(&mut body, &mut io::sink()).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn answer(
        &self,
        request: &Request,
        authorised: bool,
        reader: &mut dyn Read,
        mut out: &TcpStream,
    ) -> io::Result<()> {
        let segments = request.segments();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["health"]) => message(out, 200, "Healthy."),
            (_, ["api", "repos", ..]) if self.is_newer.load(Ordering::Relaxed) => not_found(out),
            (_, ["api", "v1", "targets"]) if !authorised => {
                answer(out, 401, "text/plain", b"401 Unauthorized")
            }
            ("GET", ["api", "v1", "targets"]) if self.is_newer.load(Ordering::Relaxed) => {
                self.targets(out, &request.query)
            }
            (_, ["api", "v1", "logs"]) if !authorised => {
                answer(out, 401, "text/plain", b"401 Unauthorized")
            }
            ("POST", ["api", "v1", "logs"]) => self.keep_log(out, request, reader),
            ("GET", ["static", ..]) => match fs::read(self.dir.join(&request.path[1..])) {
                Ok(bytes) if !request.path.contains("..") => answer(out, 200, "text/plain", &bytes),
                _ => not_found(out),
            },
            // A keyserver: the keys are files called `0x<fingerprint>`.
            ("GET", ["pks", "lookup"]) => {
                let key = request.query.get("search").map_or("", String::as_str);
                match fs::read(self.dir.join("pks").join(key)) {
                    Ok(bytes) => answer(out, 200, "application/pgp-keys", &bytes),
                    Err(_) => not_found(out),
                }
            }
            (_, ["api", "repos", ..]) if !authorised => message(out, 401, "Unauthorized."),
            ("GET", ["api", "repos"]) => {
                let repos = self.repos.lock().unwrap().clone();
                // By hand, as serde_json would sort the ids.
                let entries: Vec<String> = repos
                    .iter()
                    .map(|(id, repo)| format!("{}: {repo}", json!(id)))
                    .collect();
                let text = format!("{{\"message\":\"\",\"data\":{{{}}}}}", entries.join(","));
                answer(out, 200, "application/json", text.as_bytes())
            }
            ("POST", ["api", "repos"]) => self.add_repo(out, &request.query),
            ("DELETE", ["api", "repos", id]) => {
                let mut repos = self.repos.lock().unwrap();
                let before = repos.len();
                repos.retain(|(uuid, _)| uuid != id);
                match before - repos.len() {
                    0 => answer(out, 404, "application/json", b""),
                    _ => message(out, 200, "Repo removed successfully."),
                }
            }
            // Answered at once, the body unread: the client may see the connection reset.
            ("POST", [_, "publish"]) if !authorised => message(out, 401, "Unauthorized."),
            ("POST", [repo, "publish"]) => match request.length() {
                None => answer(out, 411, "text/plain", b""),
                Some(length) => match self.publish(repo, length, reader)? {
                    true => message(out, 200, "Package added successfully."),
                    false => message(out, 500, "Failed to add package."),
                },
            },
            ("GET" | "HEAD", [repo, arch, file]) => {
                let dir = self.dir.join(repo).join(arch);
                let path = match find(&dir, file) {
                    Some(path) if safe(repo) && safe(arch) && safe(file) => path,
                    _ => return not_found(out),
                };
                if path.parent() == Some(&dir.join(".names")) {
                    // What it knows of a package's version.
                    let marker = fs::read_to_string(path)?;
                    let file = marker.lines().nth(1).unwrap_or("");
                    let size = fs::metadata(dir.join(file))?.len();
                    let desc = format!("%FILENAME%\n{file}\n\n%CSIZE%\n{size}\n");
                    let is_head = request.method == "HEAD";
                    let body = if is_head { b"" } else { desc.as_bytes() };
                    return answer(out, 200, "application/octet-stream", body);
                }
                let mut file = File::open(path)?;
                let length = file.metadata()?.len();
                head(out, 200, "application/octet-stream", length)?;
                if request.method == "GET" {
                    io::copy(&mut file, &mut out)?;
                }
                Ok(())
            }
            _ => not_found(out),
        }
    }

    /// The list as newer servers have it: in pages of 25 unless told, with the architectures as objects, and without
    /// a `Content-Length`.
    fn targets(&self, mut out: &TcpStream, query: &HashMap<String, String>) -> io::Result<()> {
        let number = |name: &str, default: usize| {
            let value = query.get(name).and_then(|it| it.parse().ok());
            value.unwrap_or(default)
        };
        let repos = self.repos.lock().unwrap().clone();
        let targets = repos.iter().enumerate().map(|(index, (_, repo))| {
            let mut target =
                json!({"id": index + 1, "kind": "git", "branch": "", "path": "", "schedule": ""});
            for (key, value) in repo.as_object().unwrap() {
                target[key] = value.clone();
            }
            let archs = repo["arch"].as_array().unwrap().iter();
            let archs = archs.map(|it| json!({"id": 1, "target_id": index + 1, "value": it}));
            target["arch"] = archs.collect();
            target
        });
        let page: Vec<Value> = targets
            .skip(number("offset", 0))
            .take(number("limit", 25))
            .collect();
        let text = json!({"message": "", "data": page}).to_string();
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n";
        out.write_all(head.as_bytes())?;
        out.write_all(text.as_bytes())
    }

    fn add_repo(&self, out: &TcpStream, query: &HashMap<String, String>) -> io::Result<()> {
        let mut repo = Map::new();
        for field in ["url", "branch", "repo", "arch"] {
            let Some(value) = query.get(field) else {
                return message(out, 400, &format!("Missing parameter: {field}."));
            };
            let value = match field {
                "arch" => value.split(',').collect::<Vec<_>>().into(),
                _ => value.as_str().into(),
            };
            repo.insert(field.to_owned(), value);
        }
        let repo = Value::Object(repo);
        let mut repos = self.repos.lock().unwrap();
        if repos.iter().any(|(_, other)| *other == repo) {
            return message(out, 400, "Duplicate repository.");
        }
        let uuid = format!("{:08x}-0000-4000-8000-000000000001", 0xffff - repos.len());
        repos.push((uuid, repo));
        message(out, 200, "Repo added successfully.")
    }

    /// Files an archive; false if it is none. The repository `discard` takes anything and keeps nothing.
    fn publish(&self, repo: &str, length: u64, body: &mut dyn Read) -> io::Result<bool> {
        if repo == "discard" {
            let (mut left, mut buffer) = (length, vec![0; 128 * 1024]);
            while left > 0 {
                let wanted = buffer.len().min(left.try_into().unwrap_or(usize::MAX));
                match body.read(&mut buffer[..wanted])? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => left -= read as u64,
                }
            }
            return Ok(true);
        }
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        let upload = self.dir.join(format!("upload-{number}"));
        let received = io::copy(&mut body.take(length), &mut File::create(&upload)?)?;
        let filed = match received < length {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => self.file(repo, &upload),
        };
        fs::remove_file(&upload)?;
        filed
    }

    /// Files what was received.
    fn file(&self, repo: &str, upload: &Path) -> io::Result<bool> {
        // As careless as the real one: of what is there twice, .PKGINFOs included, the last counts, and names and
        // architectures become paths as they are. Only the tests' own folder isn't left.
        let read = |options: &str| {
            let mut bsdtar = Command::new("bsdtar");
            bsdtar.env("LC_ALL", "C").args([options]).arg(upload);
            bsdtar.arg(".PKGINFO").stderr(Stdio::null()).output()
        };
        // A name that it can't read ends the archive to it. Without a name and an architecture, what it takes for the package's older
        // version is the folder that all of them are in.
        if !read("-xOqf")?.status.success() {
            fs::remove_dir_all(self.dir.join(repo))?;
            return Ok(false);
        }
        let info = read("-xOf")?;
        let info = String::from_utf8_lossy(&info.stdout).into_owned();
        let field = |key: &str| {
            let pairs = info
                .split(['\n', '\r'])
                .filter_map(|line| line.split_once('='));
            let mut values = pairs.filter(|(found, _)| found.trim_ascii() == key);
            values.next_back().map(|(_, value)| value.trim_ascii())
        };
        let (Some(name), Some(version), Some(arch)) =
            (field("pkgname"), field("pkgver"), field("arch"))
        else {
            return Ok(false);
        };
        if format!("{name}/{version}/{arch}").matches("..").count() > 2 {
            return Ok(false);
        }
        let publishing = format!("{repo}/{name}");
        let is_there = {
            let mut all = self.publishing.lock().unwrap();
            all.push(publishing.clone());
            all.iter().filter(|it| **it == publishing).count() > 1
        };
        if is_there {
            eprintln!("stand-in: two publishes of {publishing} at once: it hangs from now on");
            let _requests = self.requests.lock().unwrap();
            self.is_wedged.store(true, Ordering::Relaxed);
            self.requested.notify_all();
        }
        self.hang_if_wedged();
        let filed = {
            let _one_at_a_time = self.filing.lock().unwrap();
            self.hang_if_wedged();
            self.file_as(repo, upload, [name, version, arch])
        };
        self.publishing
            .lock()
            .unwrap()
            .retain(|it| *it != publishing);
        filed
    }

    fn hang_if_wedged(&self) {
        while self.is_wedged.load(Ordering::Relaxed) {
            thread::park();
        }
    }

    fn file_as(
        &self,
        repo: &str,
        upload: &Path,
        [name, version, arch]: [&str; 3],
    ) -> io::Result<bool> {
        let what = format!("{name} {version}");
        self.accepted.lock().unwrap().push(what);
        // `any` is filed under the default architecture, and under those that are there.
        let mut archs = vec![arch.to_owned()];
        if arch == "any" {
            archs = vec![DEFAULT_ARCH.to_owned()];
            for entry in fs::read_dir(self.dir.join(repo)).into_iter().flatten() {
                archs.push(entry?.file_name().into_string().unwrap());
            }
            archs.sort();
            archs.dedup();
        }
        let flat = arch.replace('/', "-");
        let file = format!("{name}-{version}-{flat}.pkg.tar.zst");
        for filed_under in archs {
            let dir = self.dir.join(repo).join(filed_under);
            fs::create_dir_all(dir.join(".names"))?;
            fs::copy(upload, dir.join(&file))?;
            let marker = dir.join(".names").join(name);
            if let Ok(before) = fs::read_to_string(&marker) {
                let old = before.lines().nth(1).unwrap_or("");
                if old != file {
                    fs::remove_file(dir.join(old))?;
                }
            }
            fs::write(&marker, format!("{name}-{version}\n{file}\n"))?;
            let added = Command::new("repo-add")
                .arg("-q")
                .arg(dir.join(format!("{repo}.db.tar.gz")))
                .arg(dir.join(&file))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            if !added.success() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The file that a name stands for: its own, or the marker of a package's version.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let file = dir.join(name);
    if file.is_file() {
        return Some(file);
    }
    fs::read_dir(dir.join(".names"))
        .ok()?
        .map(|entry| entry.unwrap().path())
        .find(|marker| {
            let text = fs::read_to_string(marker).unwrap_or_default();
            text.lines().next() == Some(name)
        })
}

fn safe(segment: &str) -> bool {
    !segment.is_empty() && !segment.starts_with('.') && !segment.contains('/')
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    Ok(Some(Request {
        method: method.to_owned(),
        path: decode(path),
        query: query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), decode(value)))
            .collect(),
        headers,
    }))
}

/// Undoes `%XX`; a plus is a plus.
fn decode(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        match hex.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn head(mut out: &TcpStream, status: u16, kind: &str, length: u64) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} -\r\nServer: Vieter\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    out.write_all(head.as_bytes())
}

fn answer(mut out: &TcpStream, status: u16, kind: &str, body: &[u8]) -> io::Result<()> {
    head(out, status, kind, body.len() as u64)?;
    out.write_all(body)
}

fn message(out: &TcpStream, status: u16, message: &str) -> io::Result<()> {
    let text = json!({"message": message, "data": ""}).to_string();
    answer(out, status, "application/json", text.as_bytes())
}

fn not_found(out: &TcpStream) -> io::Result<()> {
    answer(out, 404, "text/plain", b"404 Not Found")
}
