//! Uploads that end while something else goes on.

use std::sync::mpsc;

use super::*;

impl House {
    /// Begins to upload a recording, of which some has come.
    pub(super) async fn begin_upload(&self, vault: &Arc<Vault>, of: &str) -> Upload {
        let new = NewRecording {
            customer: customer(of),
            details: details(),
            media_type: "audio/wav".to_owned(),
            spoken: Vec::new(),
            expected_sha256: None,
        };
        let begun = vault.begin_upload(self.permit(Action::UploadRecording), new, request("a-call")).await.unwrap();
        let Begun::Started(mut upload) = begun else { panic!("it was not uploaded before") };
        upload.push(vec![7; 1000].into()).await.unwrap();
        upload
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_given_up_at_any_moment_of_an_erasure_leaves_no_secret() {
    let mut moments = 0;
    for after in 0..MANY {
        let house = House::build().await;
        let vault = house.open().await;
        let record = house.store(&vault, "ada", 60).await.unwrap();
        let upload = house.begin_upload(&vault, "ada").await;
        let (from, to) = rows::all(rows::Kind::Upload);
        let (_, call) = rows::parse_upload(&vault.core.db.range(&from, &to, 2).unwrap()[0].0).unwrap();
        let handle = vault.core.known_customer(house.tenant, &customer("ada")).unwrap().unwrap();
        let secret = rows::secret(handle, call, Revision::FIRST);
        assert!(vault.core.db.get(&secret).unwrap().is_some(), "an upload has no secret");
        // At one moment of the erasure the upload is given up. If it can end then, it does.
        let (begin, begun) = tokio::sync::oneshot::channel();
        let (end, ended) = mpsc::sync_channel(1);
        let given_up = tokio::spawn(async move {
            if begun.await.is_ok() {
                upload.abort().await;
            }
            let _ = end.send(());
        });
        let begin = Mutex::new(Some(begin));
        house.fault.arm_with(after, move || {
            begin.lock().unwrap().take().map(|begin| begin.send(()));
            let _ = ended.recv_timeout(Duration::from_millis(200));
        });
        let erased = house.erase_part(&vault, Part::Record(record)).await;
        if house.fault.was_missed() {
            erased.unwrap();
            break;
        }
        erased.unwrap_or_else(|error| panic!("operation {after}: {error}"));
        given_up.await.unwrap();
        assert_eq!(vault.core.db.get(&secret).unwrap(), None, "operation {after}: the secret came back");
        moments += 1;
        vault.close().await;
    }
    eprintln!("uploads: given up at {moments} moments of an erasure");
    assert!(moments > 8, "{moments} moments");
}
