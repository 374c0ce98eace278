//! HTTPS with a private CA, and names that have to be resolved.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::util::{World, run, trivial};

/// Puts TLS in front of a server, with a certificate for `localhost` by a CA of its own. Gives the port, and the
/// CA's certificate in PEM.
fn tls_in_front_of(server: SocketAddr) -> (u16, String) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
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
        for client in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || serve(StreamOwned::new(connection, client), server));
        }
    });
    (port, ca.pem())
}

/// Hands one request with its body on, and then the answer back.
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
    let (port, ca) = tls_in_front_of(world.server.address);
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
