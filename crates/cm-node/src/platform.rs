//! On what confidential instances run, as the launchers are told it.

use std::net::{IpAddr, Ipv4Addr};

use cm_functions::{DockerConfig, KubernetesConfig, Platform};

use crate::config::{Config, InstancePorts, LauncherSettings};

/// The platform of a configuration, for the node of this id.
pub(crate) fn platform(config: &Config, node: &str) -> Platform {
    let instances = &config.instances;
    let listen = config.listen.instances;
    let address = listen.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |listen| listen.address);
    let ports = listen.and_then(|InstancePorts { first, last, .. }| (first != 0).then_some(first..=last));
    // Checked when the configuration was read.
    let image = instances.image.clone().unwrap_or_default();
    match instances.launcher {
        LauncherSettings::Process => Platform::Process,
        LauncherSettings::Docker => Platform::Docker(DockerConfig {
            node: node.to_owned(),
            socket: instances.docker.socket.clone(),
            image,
            address,
            ports,
            control_port: instances.control_port,
            network: instances.docker.network.clone(),
        }),
        LauncherSettings::Kubernetes => {
            let settings = &instances.kubernetes;
            Platform::Kubernetes(KubernetesConfig {
                node: node.to_owned(),
                kubeconfig: settings.kubeconfig.clone(),
                namespace: settings.namespace.clone(),
                service: settings.service.clone(),
                host: instances.host.clone().unwrap_or_else(|| settings.service.clone()),
                image,
                // Checked likewise, unless there are no instances at all.
                ports: ports.unwrap_or(1..=1),
                family: address,
                control_port: instances.control_port,
                cpu: settings.cpu.clone(),
                resources: settings.resources.clone(),
                hugepages: settings.hugepages,
                owner: settings.owner.clone(),
            })
        }
    }
}
