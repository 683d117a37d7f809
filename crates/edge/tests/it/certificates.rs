//! Certificates that change while they are used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;

use crate::endpoint::Endpoint;
use crate::stage::{Folder, Link, Setting, Stage, service, tls, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_served_and_no_request_is_lost_meanwhile() {
    let shop = Endpoint::start("shop").await;
    let folder = Folder::new();
    let old = folder.certify("shop.test");
    let stage = Stage::with(vec![service("shop", &[&shop])], folder, Setting::default()).await;
    let mut link = Link::tls(stage.https(), "shop.test", &old, false).await;
    let done = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&done);
    let asks = tokio::spawn(async move {
        let mut count = 0;
        while !ends.load(Relaxed) {
            let request = Request::get("/").header(HOST, "shop.test").body(Full::default()).unwrap();
            assert_eq!(link.send(request).await.status, 200);
            count += 1;
        }
        count
    });
    let new = stage.folder.certify("shop.test");
    let mut taken = false;
    for _ in 0..300 {
        taken = tls(stage.https(), "shop.test", &new, &[b"h2"]).await.is_ok();
        if taken {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(taken);
    assert!(tls(stage.https(), "shop.test", &old, &[b"h2"]).await.is_err());
    done.store(true, Relaxed);
    assert!(asks.await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_certificate_is_told_once_and_the_one_before_stays() {
    let shop = Endpoint::start("shop").await;
    let folder = Folder::new();
    let old = folder.certify("shop.test");
    let stage = Stage::with(vec![service("shop", &[&shop])], folder, Setting::default()).await;
    std::fs::write(stage.folder.0.join("shop.test.crt"), "half a file").unwrap();
    until("it is told", || !stage.told.lock().unwrap().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(stage.told.lock().unwrap().len(), 1, "{:?}", stage.told);
    assert!(stage.told.lock().unwrap()[0].contains("shop.test"));
    assert!(tls(stage.https(), "shop.test", &old, &[b"h2"]).await.is_ok());
    // The key of another one is no better.
    let other = Folder::new();
    other.certify("shop.test");
    std::fs::copy(other.0.join("shop.test.crt"), stage.folder.0.join("shop.test.crt")).unwrap();
    assert_eq!(stage.certificates.reload().len() + stage.told.lock().unwrap().len(), 2);
    assert!(tls(stage.https(), "shop.test", &old, &[b"h2"]).await.is_ok());
    assert!(tls(stage.https(), "other.test", &old, &[b"h2"]).await.is_err());
    std::fs::remove_file(stage.folder.0.join("shop.test.crt")).unwrap();
    stage.certificates.reload();
    assert!(stage.certificates.names().is_empty());
}
