# Builds the frontend and all component images:
#   docker buildx bake            every image
#   docker buildx bake kernel     one of them
# Where no registry has the base images, hack/bases.sh makes them.

variable "REGISTRY" { default = "ghcr.io/lkx-os" }
variable "VERSION" { default = "0.1" }

# Everything is cross-built: nothing of another architecture runs.
variable "LKX_PLATFORMS" { default = "linux/amd64,linux/arm64" }

group "default" {
  targets = ["lkx", "components"]
}

group "components" {
  targets = [
    "bootblobs", "busybox", "containerd", "hello", "init", "kernel", "kernel-generic", "logwrite", "redis", "runc",
    "ca-certificates", "dhcpcd", "dm-crypt", "format", "ip", "metadata", "modprobe", "mount", "ntp", "poweroff", "swap",
    "sysctl",
    "getty", "metrics", "nginx", "sshd", "sshd-debug",
  ]
}

target "_common" {
  platforms = split(",", LKX_PLATFORMS)
  args = {
    SOURCE_DATE_EPOCH = "0"
  }
}

# The BuildKit frontend.
target "lkx" {
  inherits   = ["_common"]
  dockerfile = "Dockerfile"
  tags       = ["${REGISTRY}/lkx:${VERSION}"]
}

target "component" {
  name     = component
  matrix = { component = [
    "bootblobs", "busybox", "containerd", "kernel", "runc",
    "ca-certificates",
  ] }
  inherits = ["_common"]
  context  = "components/${component}"
  tags     = ["${REGISTRY}/${component}:${VERSION}"]
}

# The same kernel image for real machines.
target "kernel-generic" {
  inherits = ["_common"]
  context  = "components/kernel"
  args = {
    SOURCE_DATE_EPOCH = "0"
    FLAVOR            = ""
  }
  tags = ["${REGISTRY}/kernel-generic:${VERSION}"]
}

# The same ssh server with a shell.
target "sshd-debug" {
  inherits   = ["_common"]
  context    = "components"
  dockerfile = "sshd/Dockerfile"
  args = {
    SOURCE_DATE_EPOCH = "0"
    VARIANT           = "debug"
  }
  tags = ["${REGISTRY}/sshd-debug:${VERSION}"]
}

# Components of the same module, and those that take programs from packages
# (collect.sh), have one build context.
target "guest" {
  name       = guest
  matrix = { guest = [
    "hello", "init", "logwrite",
    "dhcpcd", "dm-crypt", "format", "ip", "metadata", "modprobe", "mount", "ntp", "poweroff", "swap", "sysctl",
    "getty", "metrics", "nginx", "redis", "sshd",
  ] }
  inherits   = ["_common"]
  context    = "components"
  dockerfile = "${guest}/Dockerfile"
  tags       = ["${REGISTRY}/${guest}:${VERSION}"]
}
