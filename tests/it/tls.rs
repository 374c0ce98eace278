//! HTTPS with a private CA, and names that have to be resolved.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use vieter::home::server::Shelf;
use vieter::http::Deadline;
use vieter::server::{Server, Settings};

use crate::server_faults::{check, standin};
use crate::util::{KEY, World, run, trivial};

/// How TLS in front of a server is at fault.
struct Fault {
    /// Whom the certificate is for: `localhost` if it is in order.
    name: &'static str,
    /// The year in which the certificate ends.
    until: i32,
    /// What the first connections but one are answered with, in plain text, each.
    instead: &'static [&'static str],
}

const NO_FAULT: Fault = Fault {
    name: "localhost",
    until: 4000,
    instead: &[],
};

/// Puts TLS in front of a server, with a certificate by a CA of its own. Gives the port, and the CA's certificate in PEM.
fn tls_in_front_of(server: SocketAddr, fault: Fault) -> (u16, String) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::new(vec![fault.name.to_owned()]).unwrap();
    certificate.not_after = rcgen::date_time_ymd(fault.until, 1, 1);
    let certificate = certificate.signed_by(&key, &ca).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (number, mut client) in listener.incoming().flatten().enumerate() {
            if let Some(words) = number.checked_sub(1).and_then(|it| fault.instead.get(it)) {
                let _ = client.read(&mut [0; 1000]);
                let _ = client.write_all(words.as_bytes());
                continue;
            }
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || serve(StreamOwned::new(connection, client), server));
        }
    });
    (port, ca.pem())
}

/// Hands one request with its body on, and then the answer back; an upload to `refused` is too large.
fn serve(
    mut client: StreamOwned<ServerConnection, TcpStream>,
    server: SocketAddr,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server)?;
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if head.starts_with(b"POST /refused/") {
        return client
            .write_all(b"HTTP/1.1 413 -\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }
    server.write_all(&head)?;
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |it| it.parse().unwrap());
    io::copy(&mut (&mut client).take(length), &mut server)?;
    io::copy(&mut server, &mut client)?;
    client.conn.send_close_notify();
    client.flush()
}

#[test]
fn a_private_ca_is_trusted_when_ssl_cert_file_names_it() {
    let world = World::new();
    world.package("any", &trivial("any"));
    let (port, ca) = tls_in_front_of(world.server.address, NO_FAULT);
    let file = world.dir.path().join("ca.pem");
    std::fs::write(&file, ca).unwrap();
    // A name that /etc/hosts has.
    let address = format!("https://localhost:{port}");
    run(world.vieter().args(["--address", &address]))
        .exits(3)
        .says("UnknownIssuer")
        .says("set SSL_CERT_FILE");
    run(world
        .vieter()
        .args(["--address", &address])
        .env("SSL_CERT_FILE", "/no/such/file"))
    .exits(3)
    .says("/no/such/file");
    run(world
        .vieter()
        .args(["--address", &address])
        .env("SSL_CERT_FILE", &file))
    .exits(0)
    .reports("built       any 1.0-1  ");
    // The file is no harm where it isn't needed.
    run(world.vieter().env("SSL_CERT_FILE", &file))
        .exits(0)
        .reports("up to date  any 1.0-1  ");
    run(world
        .vieter()
        .args(["--address", "http://no-such-name.invalid"]))
    .exits(3)
    .says("GET /api/repos at http://no-such-name.invalid");
}

#[test]
fn a_certificate_that_is_wrong_is_told_from_a_server_that_is_slow() {
    let (server, dir) = standin();
    let file = dir.path().join("ca.pem");
    let check = |fault: Fault, is_known: bool| {
        let (port, ca) = tls_in_front_of(server.address, fault);
        std::fs::write(&file, ca).unwrap();
        let mut command = check(&format!("https://localhost:{port}"));
        if is_known {
            command.env("SSL_CERT_FILE", &file);
        }
        let run = run(&mut command);
        let requests = server.take_requests();
        (
            run.code,
            format!("{}{}", run.stdout, run.stderr),
            requests.len(),
        )
    };
    let expired = || Fault {
        until: 2020,
        ..NO_FAULT
    };
    let others = Fault {
        name: "elsewhere.example.com",
        ..NO_FAULT
    };
    let slow = Fault {
        instead: &["", "HTTP/1.1 502 Bad Gateway\r\n\r\n"],
        ..NO_FAULT
    };
    // What the certificate says is no chance.
    for (fault, is_known, says) in [
        (
            NO_FAULT,
            false,
            "UnknownIssuer (a private CA's? set SSL_CERT_FILE",
        ),
        (expired(), true, "certificate expired"),
        (others, true, "certificate not valid for name"),
    ] {
        let (code, said, requests) = check(fault, is_known);
        assert_eq!((code, requests), (3, 0), "{says}");
        assert!(said.contains(says) && !said.contains("again in"), "{said}");
    }
    // The usual certificates are tried first, and that is answered; then nothing comes, or something else.
    let (code, said, requests) = check(slow, true);
    assert_eq!((code, requests), (0, 1), "{said}");
    assert!(said.contains("(try 1; again in 1 s)") && !said.contains("UnknownIssuer"));
}

#[test]
fn a_server_that_refuses_and_hangs_up_is_heard_through_tls() {
    let (server, dir) = standin();
    let (port, ca) = tls_in_front_of(server.address, NO_FAULT);
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, ca).unwrap();
    let by = Deadline::after(Duration::from_secs(60));
    let mut server = Server::new(Settings {
        address: format!("https://localhost:{port}"),
        api_key: KEY.to_owned(),
        ca_file: Some(file),
    });
    server.get_first("/health", by).unwrap();
    let (size, repo) = (30_000_000, "refused".parse().unwrap());
    let shelf = Shelf {
        server: &server,
        repo: &repo,
        arch: &"x86_64".parse().unwrap(),
    };
    let bytes = || Ok(io::repeat(b'x').take(size));
    let error = shelf.upload("x-1-1", false, bytes, size, by);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("answered 413:  (a proxy's limit?"),
        "{error}"
    );
}
