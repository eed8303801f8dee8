package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
)

// Containerd is how the containerd of a snapshotter's store is configured, and what it has
// recorded.
type Containerd struct {
	ConfigFile  string
	Config      containerdconf.Config
	ConfigErr   error
	Snapshotter string // its name in containerd
	Socket      string // that the snapshotter serves
	Modern      bool   // containerd 2 made the records
	// Containers has how many containers use each snapshotter, and Pods whether some are of
	// Kubernetes.
	Containers map[string]int
	Pods       bool
}

// The check, and what mends most of its findings.
const (
	containerdCheck  = "containerd"
	mendContainerd   = "merge config.toml of /usr/share/overlayzfs/containerd (in sources: dist/containerd) into "
	thenContainerd   = "; systemctl restart containerd"
	reasonWithoutUse = "its images and containers are made elsewhere, without a word"
)

// checkContainerd checks whether what runs in containerd runs on the snapshotter.
func checkContainerd(f Facts) []Finding {
	c := f.Containerd
	switch {
	case c == nil:
		return nil
	case c.ConfigErr != nil:
		return []Finding{{containerdCheck, Broken, c.ConfigErr.Error(), "containerd does not start with it", "containerd --config " + c.ConfigFile + " config dump    # shows the place; mend it there"}}
	case !c.Config.HasSnapshotter(c.Snapshotter):
		return []Finding{{containerdCheck, Broken, "containerd's configuration names no snapshotter " + c.Snapshotter, "containerd cannot reach the layers", c.mend()}}
	}
	if address := c.Config.Proxies[c.Snapshotter].Address; c.Socket != "" && address != c.Socket {
		return []Finding{{containerdCheck, Broken, fmt.Sprintf("containerd looks for the snapshotter at %s, which serves %s", address, c.Socket), "containerd cannot reach the layers", "write the same path into " + c.ConfigFile + " and into snapshotter.toml" + thenContainerd}}
	}
	found := slices.Concat(c.checkPods(), c.checkUnpack(), c.checkElsewhere())
	if len(found) == 0 {
		return okFinding(containerdCheck, "images and containers are made on "+c.Snapshotter)
	}
	return found
}

func (c *Containerd) mend() string { return mendContainerd + c.ConfigFile + thenContainerd }

// checkPods finds the runtimes whose pods run on another snapshotter. It is no fault where
// Kubernetes does not run.
func (c *Containerd) checkPods() (found []Finding) {
	severity := Note
	if c.Pods {
		severity = Warning
	}
	pods := c.Config.PodSnapshotters(c.Modern)
	for _, runtime := range slices.Sorted(maps.Keys(pods)) {
		if pods[runtime] == c.Snapshotter {
			continue
		}
		what := "pods run on " + pods[runtime]
		if runtime != "" {
			what = "pods of the runtime " + runtime + " run on " + pods[runtime]
		}
		found = append(found, Finding{containerdCheck, severity, what, "the CRI's configuration says so; " + reasonWithoutUse, c.mend()})
	}
	return found
}

// checkUnpack finds that containerd 2 pulls images without unpacking them.
func (c *Containerd) checkUnpack() []Finding {
	names := c.Config.UnpackSnapshotters()
	if !c.Modern || slices.Contains(names, c.Snapshotter) {
		return nil
	}
	return []Finding{{containerdCheck, Warning, "unpack_config names " + strings.Join(names, ", ") + " only",
		"`ctr images pull` and `import`, and the CRI from containerd 2.2 on, leave images for " + c.Snapshotter + " packed, without a word", c.mend()}}
}

// checkElsewhere finds the containers that use another snapshotter.
func (c *Containerd) checkElsewhere() (found []Finding) {
	for _, name := range slices.Sorted(maps.Keys(c.Containers)) {
		if name != c.Snapshotter && name != "" {
			found = append(found, Finding{containerdCheck, Note, fmt.Sprintf("%d containers use the snapshotter %s", c.Containers[name], name), "they were made with it, and stay on it", "make them again"})
		}
	}
	return found
}
