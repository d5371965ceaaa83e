//! Every method the server answers: its name in metrics, and whether it is a stream. A test holds the list to the protobuf
//! definitions, so that a new method cannot be forgotten here.

/// How a method's messages flow, which decides how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// One message in, one out.
    Unary,
    /// Many messages, in or out.
    Stream,
}

/// One method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// The service, with its package.
    pub service: &'static str,
    /// The method's name, as metrics show it.
    pub name: &'static str,
    /// How its messages flow.
    pub flow: Flow,
}

impl Method {
    /// Stands for all methods that there are not, so that a stranger's paths do not become labels.
    pub const UNKNOWN: Self = Self { service: "", name: "unknown", flow: Flow::Unary };

    /// The method at an HTTP path (`/package.Service/Method`).
    pub fn at(path: &str) -> Self {
        let of_path = |method: &&Self| {
            let rest = path.strip_prefix('/').and_then(|rest| rest.strip_prefix(method.service));
            rest.and_then(|rest| rest.strip_prefix('/')) == Some(method.name)
        };
        METHODS.iter().find(of_path).copied().unwrap_or(Self::UNKNOWN)
    }
}

/// The services of our own.
pub const SERVICES: [&str; 5] = [RECORDS, PRIVACY, ACCESS, AUDIT, ADMIN];

const RECORDS: &str = "oubliette.v1.RecordService";
const PRIVACY: &str = "oubliette.v1.PrivacyService";
const ACCESS: &str = "oubliette.v1.AccessService";
const AUDIT: &str = "oubliette.v1.AuditService";
const ADMIN: &str = "oubliette.v1.AdminService";
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";

const fn unary(service: &'static str, name: &'static str) -> Method {
    Method { service, name, flow: Flow::Unary }
}

const fn stream(service: &'static str, name: &'static str) -> Method {
    Method { service, name, flow: Flow::Stream }
}

/// All methods.
pub const METHODS: &[Method] = &[
    unary(RECORDS, "CreateTranscript"),
    unary(RECORDS, "ReviseTranscript"),
    stream(RECORDS, "UploadRecording"),
    unary(RECORDS, "GetTranscript"),
    stream(RECORDS, "DownloadRecording"),
    unary(RECORDS, "GetRecord"),
    unary(RECORDS, "ListRecords"),
    unary(PRIVACY, "EraseCustomer"),
    unary(PRIVACY, "EraseRecord"),
    unary(PRIVACY, "EraseCustomers"),
    unary(PRIVACY, "ReadmitCustomer"),
    unary(PRIVACY, "GetReceipt"),
    unary(PRIVACY, "ListReceipts"),
    unary(PRIVACY, "ListLogKeys"),
    unary(ACCESS, "AssignCase"),
    unary(ACCESS, "UnassignCase"),
    unary(ACCESS, "ListCaseAssignments"),
    unary(ACCESS, "BreakGlass"),
    unary(ACCESS, "RequestApproval"),
    unary(ACCESS, "GiveApproval"),
    unary(ACCESS, "WithdrawApproval"),
    unary(ACCESS, "ListApprovals"),
    unary(ACCESS, "ExplainAccess"),
    unary(AUDIT, "ListEntries"),
    stream(AUDIT, "WatchEntries"),
    unary(AUDIT, "GetCheckpoint"),
    unary(AUDIT, "GetInclusionProof"),
    unary(AUDIT, "GetConsistencyProof"),
    stream(AUDIT, "ReportExposure"),
    unary(ADMIN, "CreateTenant"),
    unary(ADMIN, "GetTenant"),
    unary(ADMIN, "ListTenants"),
    unary(ADMIN, "UpdateTenantSettings"),
    unary(ADMIN, "SuspendTenant"),
    unary(ADMIN, "ResumeTenant"),
    unary(ADMIN, "FreezeTenant"),
    unary(ADMIN, "UnfreezeTenant"),
    unary(ADMIN, "RequestTenantErasure"),
    unary(ADMIN, "CancelTenantErasure"),
    unary(ADMIN, "ApproveTenantErasure"),
    unary(ADMIN, "SetPrincipal"),
    unary(ADMIN, "ListPrincipals"),
    unary(ADMIN, "CreateToken"),
    unary(ADMIN, "BindCertificate"),
    unary(ADMIN, "RevokeToken"),
    unary(ADMIN, "ListTokens"),
    unary(ADMIN, "VerifyRecords"),
    unary(HEALTH, "Check"),
    stream(HEALTH, "Watch"),
    stream(REFLECTION, "ServerReflectionInfo"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn the_list_is_that_of_the_protobuf_definitions() {
        let mut defined = BTreeSet::new();
        let sets = [
            crate::api::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        ];
        for file in sets.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file) {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    defined.insert((path, method.client_streaming() || method.server_streaming()));
                }
            }
        }
        let path = |method: &Method| format!("/{}/{}", method.service, method.name);
        let listed: BTreeSet<_> = METHODS.iter().map(|method| (path(method), method.flow == Flow::Stream)).collect();
        assert_eq!(listed, defined);
        assert!(METHODS.iter().all(|method| Method::at(&path(method)) == *method));
        assert_eq!(Method::at("/oubliette.v1.RecordService/getrecord"), Method::UNKNOWN);
    }
}
