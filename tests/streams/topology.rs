//! Redis in several servers: Sentinel and Cluster, three nodes each.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use store::redis::{RedisAddress, Topology};
use stream::{End, Head, StreamError, StreamId, Streams};

use crate::support::*;

fn several(topology: Topology, ports: &[u16]) -> RedisAddress {
    let nodes = ports
        .iter()
        .map(|port| ("127.0.0.1".to_owned(), *port))
        .collect();
    RedisAddress {
        topology,
        nodes,
        ..address(0)
    }
}

/// All that streams do, once, on many keys.
async fn smoke(here: &Streams, there: &Streams) {
    for n in 0..20 {
        let id = StreamId::from_client(&format!("published-{n}")).unwrap();
        here.create(&id, published(), Some(one("a"))).await.unwrap();
        there
            .update(&id, None, |_: &mut Head| {
                Ok::<_, StreamError>((Some(one("b")), ()))
            })
            .await
            .unwrap();
        let mut reader = here.attach(&id, None, None).await.unwrap();
        assert_eq!(hear(&mut reader, 2).await.records, ["a", "b"]);
        there.delete(&id, None).await.unwrap();
        assert!(hear(&mut reader, 1).await.gone);
    }
    for _ in 0..10 {
        let id = StreamId::random();
        let writer = here.write(&id, written()).unwrap();
        writer.append(one("a"));
        let mut reader = attach(there, &id).await;
        assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
        there.cancel(&id, None).await.unwrap();
        let cancelled = std::future::poll_fn(|cx| match writer.poll(cx).cancelled {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        });
        tokio::time::timeout(PATIENCE, cancelled).await.unwrap();
        writer.end(End::Cancelled);
        assert_eq!(hear(&mut reader, 1).await.end, Some(End::Cancelled));
    }
}

#[tokio::test]
async fn a_cluster_of_three_serves_every_stream() {
    if !has_redis() {
        return;
    }
    let nodes: Vec<Redis> = (0..3).map(|_| cluster_node()).collect();
    let ports: Vec<u16> = nodes.iter().map(|node| node.port).collect();
    let mut create = Command::new("redis-cli");
    create
        .args(["--cluster", "create"])
        .args(ports.iter().map(|port| format!("127.0.0.1:{port}")))
        .arg("--cluster-yes");
    let created = create.output().expect("redis-cli runs");
    assert!(
        created.status.success(),
        "{}",
        String::from_utf8_lossy(&created.stdout)
    );
    until(async || {
        nodes
            .iter()
            .all(|node| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
            .then_some(())
    })
    .await;
    let address = several(Topology::Cluster, &ports);
    let (here, there) = (streams_at(address.clone()).await, streams_at(address).await);
    smoke(&here, &there).await;
    // Names that are the same in every run: random ids may all lie on two of the three.
    for n in 0..30 {
        let id = StreamId::from_client(&format!("kept-{n}")).unwrap();
        here.create(&id, published(), Some(one("a"))).await.unwrap();
    }
    let keys: Vec<String> = nodes
        .iter()
        .map(|node| node.cli(&["DBSIZE"]).trim().to_owned())
        .collect();
    assert!(
        keys.iter().all(|count| count != "0"),
        "each has a part: {keys:?}"
    );
}

fn cluster_node() -> Redis {
    loop {
        // The nodes talk to each other on another port, 10,000 above.
        if let Some(port) = Some(free_port()).filter(|port| *port < 55_000) {
            return Redis::at(
                port,
                &["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"],
            );
        }
    }
}

#[tokio::test]
async fn when_a_master_dies_its_successor_is_found_and_streams_go_on() {
    if !has_redis() {
        return;
    }
    let mut master = Redis::start();
    let port = master.port.to_string();
    let replicas: Vec<Redis> = (0..2)
        .map(|_| Redis::with(&["--replicaof", "127.0.0.1", &port]))
        .collect();
    for replica in &replicas {
        until(async || {
            replica
                .cli(&["INFO", "replication"])
                .contains("master_link_status:up")
                .then_some(())
        })
        .await;
    }
    let sentinels: Vec<(u16, Process)> = (0..3).map(|_| sentinel(master.folder(), &port)).collect();
    let ports: Vec<u16> = sentinels.iter().map(|(port, _)| *port).collect();
    for port in &ports {
        let knows = || {
            let asked = ["-p", &port.to_string(), "SENTINEL", "MASTER", "rill"].map(str::to_owned);
            let said = Command::new("redis-cli")
                .args(asked)
                .output()
                .expect("redis-cli runs")
                .stdout;
            let said = String::from_utf8_lossy(&said).into_owned();
            (said.contains("num-slaves\n2") && said.contains("num-other-sentinels\n2"))
                .then_some(())
        };
        until(async || knows()).await;
    }
    let address = several(
        Topology::Sentinel {
            service: "rill".to_owned(),
        },
        &ports,
    );
    let (here, there) = (streams_at(address.clone()).await, streams_at(address).await);
    smoke(&here, &there).await;
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let mut reader = attach(&there, &id).await;
    assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
    master.kill();
    writer.append(one("b"));
    writer.end(End::Completed);
    let heard = hear(&mut reader, 10).await;
    assert_eq!(
        (heard.records, heard.end),
        (vec!["b".to_owned()], Some(End::Completed))
    );
}

fn sentinel(folder: &Path, master: &str) -> (u16, Process) {
    let port = free_port();
    let file = folder.join(format!("sentinel-{port}.conf"));
    let settings = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor rill 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds rill 1000\nsentinel failover-timeout rill 5000\n",
        folder.display()
    );
    std::fs::write(&file, settings).expect("a file");
    let process = Process::start(Command::new("redis-server").arg(&file).arg("--sentinel"));
    std::thread::sleep(Duration::from_millis(100));
    (port, process)
}
