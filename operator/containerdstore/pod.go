package containerdstore

import (
	"encoding/json"
	"strings"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"
)

// The labels that a kubelet gives the containers of a pod, and nerdctl a container.
const (
	podLabel          = "io.kubernetes.pod.name"
	podNamespaceLabel = "io.kubernetes.pod.namespace"
	podContainerLabel = "io.kubernetes.container.name"
	nerdctlLabel      = "nerdctl/name"
)

// The extensions in which containerd's CRI keeps what it knows of a container.
var criExtensions = []string{"io.cri-containerd.container.metadata", "io.cri-containerd.sandbox.metadata"}

// containerName returns the name that people know a container by, or "". A container of a
// pod is NAMESPACE/POD/CONTAINER, a pod's sandbox NAMESPACE/POD.
func containerName(labels map[string]string, extensions *bbolt.Bucket) string {
	name := labels[nerdctlLabel]
	if pod := labels[podLabel]; pod != "" {
		name = joinNames(labels[podNamespaceLabel], pod, labels[podContainerLabel])
	} else if extensions != nil {
		for _, extension := range criExtensions {
			if raw := extensions.Get([]byte(extension)); raw != nil && name == "" {
				name = criName(raw)
			}
		}
	}
	if !isPrintable(name) {
		return ""
	}
	return name
}

// joinNames joins the names that are not empty.
func joinNames(names ...string) string {
	var all []string
	for _, name := range names {
		if name != "" {
			all = append(all, name)
		}
	}
	return strings.Join(all, "/")
}

// criName returns the name in an extension of the CRI. Clients other than a kubelet set no
// labels. The CRI joins a container's name from its own, the pod's, the pod's name space,
// its UID and a number; that of a sandbox lacks the first.
func criName(extension []byte) string {
	var e struct{ Metadata struct{ Name string } }
	if err := json.Unmarshal(anyValue(extension), &e); err != nil {
		return ""
	}
	switch parts := strings.Split(e.Metadata.Name, "_"); len(parts) {
	case 5:
		return joinNames(parts[2], parts[1], parts[0])
	case 4:
		return joinNames(parts[1], parts[0])
	}
	return ""
}

// anyValue returns the value in an encoded google.protobuf.Any, or nil.
func anyValue(raw []byte) (value []byte) {
	const valueField = 2
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil
		}
		raw = raw[n:]
		if number == valueField && kind == protowire.BytesType {
			if value, n = protowire.ConsumeBytes(raw); n < 0 {
				return nil
			}
		} else if n = protowire.ConsumeFieldValue(number, kind, raw); n < 0 {
			return nil
		}
		raw = raw[n:]
	}
	return value
}
