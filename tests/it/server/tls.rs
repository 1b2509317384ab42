//! TLS and HTTP/2.

use std::process::Command;

use arbiter_tests::{Done, Place, Serving, curl, done};

/// A certificate for `localhost` with its key, in files of the place; gives the configuration that names them.
fn identity(place: &Place) -> std::path::PathBuf {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    place.write("server.pem", &made.cert.pem());
    place.write("server.key", &made.signing_key.serialize_pem());
    place.write(
        "config.toml",
        "[server]\ntls_certificate = \"server.pem\"\ntls_key = \"server.key\"\nhead_seconds = 1\n",
    )
}

fn ask(place: &Place, serving: &Serving, arguments: &[&str]) -> Done {
    let port = serving.url.rsplit(':').next().expect("a port");
    done(
        Command::new(curl())
            .args([
                "--silent",
                "--show-error",
                "--write-out",
                " %{http_version} %{http_code}",
                "--cacert",
            ])
            .arg(place.path("server.pem"))
            .args(arguments)
            .arg(format!("https://localhost:{port}/healthz")),
    )
}

#[test]
fn http_1_and_2_are_served_over_tls() {
    let place = Place::new();
    let config = identity(&place);
    let serving = Serving::start(&place, &["--config", config.to_str().expect("a path")]);
    assert!(serving.url.starts_with("https://"), "{}", serving.url);
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let told = ask(&place, &serving, &[option]);
        assert!(told.stdout.ends_with(&format!(" {version} 200")), "{told:?}");
    }
    let old = ask(&place, &serving, &["--tls-max", "1.1"]);
    assert_ne!(old.code(), 0, "TLS before 1.2 is not spoken: {old:?}");
    // In clear text nothing is answered, and those who never begin to speak are cut off.
    let address = serving.url.trim_start_matches("https://").to_owned();
    let clear = done(
        Command::new(curl())
            .arg("--silent")
            .arg(format!("http://{address}/healthz")),
    );
    assert_ne!(clear.code(), 0, "{clear:?}");
    let mut silent = std::net::TcpStream::connect(&address).expect("a connection");
    let mut told = Vec::new();
    std::io::Read::read_to_end(&mut silent, &mut told).expect("it is closed");
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(serving.stop().code(), Some(0));
}

#[test]
fn a_key_that_does_not_fit_is_an_error_of_the_configuration() {
    let place = Place::new();
    let config = identity(&place);
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    place.write("server.key", &other.signing_key.serialize_pem());
    let refused = place.run(&[
        "--config",
        config.to_str().expect("a path"),
        "serve",
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(refused.code(), 3, "{refused:?}");
    assert!(refused.stderr.contains("TLS"), "{refused:?}");
}
