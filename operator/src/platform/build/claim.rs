use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};

use super::Parts;

impl Parts<'_> {
    pub(super) fn claim(&self) -> Option<PersistentVolumeClaim> {
        let claim = self.service.storage.claim.as_ref()?;
        Some(PersistentVolumeClaim {
            metadata: self.metadata(self.service.claim_name()),
            spec: Some(PersistentVolumeClaimSpec {
                // ReadWriteOncePod would say it better, but not every storage
                // provider knows it.
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                storage_class_name: claim.storage_class.clone(),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(BTreeMap::from([("storage".to_owned(), claim.size.clone())])),
                    limits: None,
                }),
                ..PersistentVolumeClaimSpec::default()
            }),
            status: None,
        })
    }
}
