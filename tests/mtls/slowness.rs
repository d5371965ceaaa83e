//! Clients that are slow, silent or send garbage: they take their own slots for a while, and nobody's time.

use std::time::{Duration, Instant};

use crate::house::service::{Service, client_config, wait_for};
use crate::house::{Authority, Folder, Leaf};
use oubliette::config::Limits;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Reads what comes until the server hangs up, which it does soon.
async fn read_to_the_end(stream: &mut (impl AsyncRead + Unpin)) {
    let reading = async { while matches!(stream.read(&mut [0; 256]).await, Ok(1..)) {} };
    tokio::time::timeout(Duration::from_secs(5), reading).await.expect("the server hangs up");
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_given_up() {
    let authority = Authority::root("clients");
    let limits = Limits { handshake_timeout_ms: 200, ..Limits::default() };
    let service = Service::start_with(Some(&Folder::new(&authority)), limits).await;
    let mut silent = TcpStream::connect(service.address).await.unwrap();
    let mut drop_by_drop = TcpStream::connect(service.address).await.unwrap();
    let dripping = tokio::spawn(async move {
        // The beginning of a record that says it has 512 bytes more.
        for byte in [0x16, 3, 1, 2, 0, 1].iter().cycle() {
            if drop_by_drop.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let begun = Instant::now();
    read_to_the_end(&mut silent).await;
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
    dripping.await.unwrap();
    service.wait_for_failures("timeout", 2).await;
    wait_for(|| service.metrics.open_connections.get() == 0, "the end of the connections").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_of_garbage_and_silence_do_not_delay_a_good_one() {
    const BAD: usize = 1_000;
    let authority = Authority::root("clients");
    let limits = Limits { connections: 2 * BAD, handshake_timeout_ms: 60_000, ..Limits::default() };
    let service = Service::start_with(Some(&Folder::new(&authority).required()), limits).await;
    let client = authority.issue(Leaf::default());
    let alone = timed_call(&service, &authority, &client).await;
    let mut bad = Vec::new();
    for number in 0..BAD {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let sends: &[u8] = match number % 4 {
            0 => b"",
            1 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            2 => &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc],
            _ => &[0xff; 4_096],
        };
        // The server may have hung up on the garbage already.
        let _ = stream.write_all(sends).await;
        bad.push(stream);
    }
    let amid = timed_call(&service, &authority, &client).await;
    println!("alone {alone:?}, amid {BAD} bad ones {amid:?}");
    assert!(amid < Duration::from_secs(1), "{amid:?}");
    service.wait_for_failures("not_our_tls", BAD as u64 / 2).await;
    wait_for(|| service.metrics.open_connections.get() <= BAD as i64 / 2 + 2, "the end of the garbage").await;
}

async fn timed_call(service: &Service, authority: &Authority, client: &crate::house::Holder) -> Duration {
    let begun = Instant::now();
    assert!(service.call(authority, Some(client)).await.unwrap().is_some());
    begun.elapsed()
}

#[tokio::test]
async fn silent_clients_hold_the_slots_no_longer_than_a_handshake_may_take() {
    let authority = Authority::root("clients");
    let limits = Limits { connections: 4, handshake_timeout_ms: 300, ..Limits::default() };
    let service = Service::start_with(Some(&Folder::new(&authority)), limits).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(service.address).await.unwrap());
    }
    wait_for(|| service.metrics.open_connections.get() == 4, "all slots to be taken").await;
    let begun = Instant::now();
    assert_eq!(service.call(&authority, None).await, Ok(None));
    // It came after eight, who have four slots: two turns.
    assert!((500..5_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert!(service.metrics.open_connections.get() <= 4);
}

#[tokio::test]
async fn a_connection_ends_when_its_time_is_over_whatever_its_client_does() {
    let authority = Authority::root("clients");
    let limits =
        Limits { connection_age_ms: 100, stream_deadline_ms: 100, connection_grace_ms: 100, ..Limits::default() };
    let service = Service::start_with(Some(&Folder::new(&authority)), limits).await;
    let mut open = service.shake(client_config(&authority, None, &[&TLS13], &["h2"])).await.unwrap();
    let begun = Instant::now();
    read_to_the_end(&mut open).await;
    assert!((200..5_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    wait_for(|| service.metrics.open_connections.get() == 0, "the end of the connection").await;
}

#[tokio::test]
async fn a_stop_ends_handshakes_and_connections() {
    let authority = Authority::root("clients");
    let service = Service::start(&Folder::new(&authority)).await;
    let mut shaking = TcpStream::connect(service.address).await.unwrap();
    let mut open = service.shake(client_config(&authority, None, &[&TLS13], &["h2"])).await.unwrap();
    wait_for(|| service.metrics.open_connections.get() == 2, "both connections").await;
    let metrics = service.metrics.clone();
    drop(service);
    read_to_the_end(&mut shaking).await;
    read_to_the_end(&mut open).await;
    wait_for(|| metrics.open_connections.get() == 0, "the end of both").await;
}
