package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
)

const containerdConfig = `version = 3
[proxy_plugins.overlayzfs]
  type = "snapshot"
  address = "/run/x"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  snapshotter = "overlayzfs"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayzfs"
`

func TestCheckContainerd(t *testing.T) {
	read := func(text string) containerdconf.Config {
		path := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := containerdconf.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	proxyOnly := containerdConfig[:len("version = 3\n[proxy_plugins.overlayzfs]\n  type = \"snapshot\"\n  address = \"/run/x\"\n")]
	for name, tt := range map[string]struct {
		facts Containerd
		want  []Severity
	}{
		"in order":              {Containerd{Config: read(containerdConfig), Modern: true, Pods: true, Containers: map[string]int{"overlayzfs": 2}}, []Severity{OK}},
		"broken":                {Containerd{ConfigErr: errors.New("x")}, []Severity{Broken}},
		"not there":             {Containerd{Config: read("version = 3\n")}, []Severity{Broken}},
		"another socket":        {Containerd{Config: read(containerdConfig), Socket: "/run/y"}, []Severity{Broken}},
		"pods elsewhere":        {Containerd{Config: read(proxyOnly), Pods: true}, []Severity{Warning}},
		"no pods":               {Containerd{Config: read(proxyOnly)}, []Severity{Note}},
		"nor unpacked":          {Containerd{Config: read(proxyOnly), Modern: true}, []Severity{Note, Warning}},
		"a runtime elsewhere":   {Containerd{Config: read(containerdConfig + "[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.kata]\nsnapshotter = \"overlayfs\"\n"), Modern: true, Pods: true}, []Severity{Warning}},
		"containers elsewhere":  {Containerd{Config: read(containerdConfig), Modern: true, Containers: map[string]int{"overlayfs": 3}}, []Severity{Note}},
		"1.7 reads other table": {Containerd{Config: read(containerdConfig), Pods: true}, []Severity{Warning}},
	} {
		tt.facts.Snapshotter = "overlayzfs"
		found := checkContainerd(Facts{Containerd: &tt.facts})
		var got []Severity
		for _, f := range found {
			got = append(got, f.Severity)
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: %+v", name, found)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%s: %+v", name, found)
			}
		}
	}
	if found := checkContainerd(Facts{}); len(found) > 0 {
		t.Errorf("of a plugin's store: %+v", found)
	}
}
