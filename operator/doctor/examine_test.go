package doctor

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// fit are the facts of a host on which nothing is wrong.
func fit() Facts {
	return Facts{
		Kernel: "6.12.107+deb13-cloud-amd64", Overlay: true, Module: "2.3.9-0+deb13u1", Device: true,
		Dataset: "tank/docker",
		Stats: &zfs.Dataset{Name: "tank/docker", Properties: map[string]zfs.Property{
			"compression": number(15), "xattr": number(2), "dnodesize": number(1), "acltype": number(1), "atime": number(0),
			"mountpoint": {Value: zfs.String("legacy")},
		}},
		Pool:   &zfs.Pool{Name: "tank", Health: "ONLINE", Size: 20 << 30, Capacity: 40, AutoTrim: true},
		Memory: Memory{Total: 16 << 30, ARCMax: 8 << 30},
		Docker: Docker{
			ConfigFile: "/etc/docker/daemon.json", Driver: "overlayzfs",
			Config: dockerconf.Config{StorageDriver: "overlayzfs", Experimental: true},
			Plugin: &dockerstore.Plugin{Name: "overlayzfs:latest", Enabled: true},
			Engine: &Engine{Version: "26.1.5+dfsg1", Driver: "overlayzfs"},
		},
		Store: &Store{},
		Probe: &Probe{CopyUp: overlayzfs.CopyUp{Took: time.Millisecond}, Sync: "standard", Quota: "dataset"},
	}
}

func number(n uint64) zfs.Property { return zfs.Property{Value: zfs.Uint(n)} }

func TestAFitHost(t *testing.T) {
	for _, f := range Examine(fit()) {
		if f.Severity != OK {
			t.Errorf("%+v", f)
		}
	}
}

// TestEachFaultIsFound gives the fit host one fault after another. It is long because it is one
// table, with a row for each finding of the package.
func TestEachFaultIsFound(t *testing.T) {
	property := func(name string, n uint64) func(*Facts) {
		return func(f *Facts) { f.Stats.Properties[name] = number(n) }
	}
	for name, tt := range map[string]struct {
		harm     func(*Facts)
		severity Severity
		check    string
		remedy   string // a part of it
	}{
		"no overlayfs":        {func(f *Facts) { f.Overlay = false }, Broken, "kernel", "modprobe overlay"},
		"an old kernel":       {func(f *Facts) { f.Kernel = "5.4.0-100-generic" }, Warning, "kernel", "newer kernel"},
		"no zfs":              {func(f *Facts) { f.ModuleErr = errors.New("no such file") }, Broken, "OpenZFS", "modprobe zfs"},
		"OpenZFS 2.1":         {func(f *Facts) { f.Module = "2.1.11-1" }, Broken, "OpenZFS", "2.2 or later"},
		"a kernel too new":    {func(f *Facts) { f.Module = "2.3.4-1"; f.Kernel = "6.17.1" }, Warning, "OpenZFS", "names this kernel"},
		"OpenZFS of tomorrow": {func(f *Facts) { f.Module = "2.5.0-1" }, Note, "OpenZFS", ""},
		"no block clones":     {func(f *Facts) { f.Module = "2.2.9-1" }, Note, "OpenZFS", "2.3"},
		"#15526":              {func(f *Facts) { f.Module = "2.2.1-1"; f.Kernel = "6.6.1" }, Broken, "openzfs #15526", "2.2.2"},
		"#16324 of Ubuntu":    {func(f *Facts) { f.Module = "2.2.2-0ubuntu9.4" }, Note, "openzfs #16324", "grep 16324"},
		"another command": {func(f *Facts) {
			f.Store, f.Probe = &Store{Running: "overlayzfs rollback, process 7", Rollback: "x", Damaged: 1}, nil
		}, Note, "store", ""},
		"another version":  {func(f *Facts) { f.Docker.Plugin.Version, f.Docker.Command = "v0.1.0", "v0.2.0" }, Note, "versions", "overlayzfs plugin upgrade"},
		"a store in place": {func(f *Facts) { f.InPlace, f.Docker.Plugin.Mount = true, "/x" }, Note, "in place", "never type docker plugin rm"},
		"#16324":           {func(f *Facts) { f.Module = "2.2.7-1" }, Warning, "openzfs #16324", "2.2.8"},
		"#17138":           {func(f *Facts) { f.Module = "2.3.1-1" }, Warning, "openzfs #17138", "2.3.2"},
		"no device":        {func(f *Facts) { f.DeviceErr = zfs.ErrNoDevice }, Broken, "/dev/zfs", "mknod -m 666 /dev/zfs"},
		"degraded":         {func(f *Facts) { f.Pool.Health = "DEGRADED" }, Warning, "pool health", "zpool status -x tank"},
		"offline": {func(f *Facts) {
			f.Pool.Health = "DEGRADED"
			f.Devices = []zfs.Device{{Path: "/dev/a", State: "ONLINE"}, {Path: "/dev/b", State: "OFFLINE"}}
		}, Warning, "pool health", "zpool online tank /dev/b; zpool status"},
		"a disk is gone": {func(f *Facts) {
			f.Pool.Health = "DEGRADED"
			f.Devices = []zfs.Device{{Path: "/dev/b", State: "UNAVAIL"}}
		}, Warning, "pool health", "zpool replace tank /dev/b"},
		"a disk fails": {func(f *Facts) {
			f.Pool.Health = "DEGRADED"
			f.Devices = []zfs.Device{{Path: "/dev/b", State: "FAULTED"}}
		}, Warning, "pool health", "zpool clear tank /dev/b"},
		"suspended":       {func(f *Facts) { f.Pool.Health = "SUSPENDED"; f.Stats = nil }, Broken, "pool health", "zpool clear tank"},
		"faulted":         {func(f *Facts) { f.Pool.Health = "FAULTED" }, Broken, "pool health", "zpool status tank"},
		"a pool to read":  {func(f *Facts) { f.Pool.ReadOnly = true }, Broken, "pool health", "zpool import tank"},
		"a crowded pool":  {func(f *Facts) { f.Pool.Capacity = 85 }, Warning, "pool space", "overlayzfs df"},
		"a full pool":     {func(f *Facts) { f.Pool.Capacity = 97 }, Broken, "pool space", "prune"},
		"no trim":         {func(f *Facts) { f.Pool.AutoTrim, f.SolidState = false, true }, Note, "autotrim", "zpool set autotrim=on tank"},
		"a greedy cache":  {func(f *Facts) { f.Memory.ARCMax = 15 << 30 }, Note, "ARC", "8589934592"},
		"a small cache":   {func(f *Facts) { f.Memory.ARCMax = 256 << 20 }, Note, "ARC", "/etc/modprobe.d/overlayzfs-arc.conf"},
		"no dataset":      {func(f *Facts) { f.Stats, f.DatasetErr = nil, zfs.ErrNotExist }, Broken, "dataset", "recordsize=128K tank/docker"},
		"no pool":         {func(f *Facts) { f.Stats, f.Pool, f.DatasetErr = nil, nil, zfs.ErrNotExist }, Broken, "dataset", "zpool import tank"},
		"no compression":  {property("compression", 2), Warning, "property", "zfs set compression=lz4 tank/docker"},
		"xattr=dir":       {property("xattr", 1), Warning, "property", "zfs set xattr=sa tank/docker"},
		"xattr as it was": {func(f *Facts) { delete(f.Stats.Properties, "xattr"); f.Module = "2.2.9-1" }, Warning, "property", "zfs set xattr=sa tank/docker"},
		"legacy dnodes":   {func(f *Facts) { delete(f.Stats.Properties, "dnodesize") }, Note, "property", "zfs set dnodesize=auto tank/docker"},
		"no ACLs":         {func(f *Facts) { delete(f.Stats.Properties, "acltype") }, Note, "property", "zfs set acltype=posix tank/docker"},
		"atime":           {func(f *Facts) { delete(f.Stats.Properties, "atime") }, Note, "property", "zfs set atime=off tank/docker"},
		"small records":   {property("recordsize", 4096), Note, "property", "zfs set recordsize=128K tank/docker"},
		"sync=disabled":   {property("sync", zfs.SyncDisabled), Note, "property", "zfs set sync=standard tank/docker"},
		"sync=always":     {property("sync", zfs.SyncAlways), Warning, "property", "zfs set sync=standard tank/docker"},
		"read-only":       {property("readonly", 1), Broken, "property", "zfs set readonly=off tank/docker"},
		"no key":          {property("keystatus", 1), Broken, "property", "zfs load-key tank/docker"},
		"no key above": {func(f *Facts) {
			f.Stats.Properties["keystatus"], f.Stats.Properties["encryptionroot"] = number(1), zfs.Property{Value: zfs.String("tank")}
		}, Broken, "property", "zfs load-key tank"},
		"mounted by itself": {func(f *Facts) {
			f.Stats.Properties["mountpoint"] = zfs.Property{Value: zfs.String("/x"), Source: "tank/docker"}
		}, Note, "property", "mountpoint=legacy"},
		"a slow copy-up": {func(f *Facts) {
			f.Probe.CopyUp = overlayzfs.CopyUp{Took: 36 * time.Millisecond, Waits: errors.New("no fanotify")}
		}, Note, "copy-up", "sync=disabled"},
		"a probe that failed": {func(f *Facts) { f.Probe.Err = errors.New("x") }, Warning, "probe", ""},
		"what overlayfs lacks": {func(f *Facts) {
			f.Probe = &Probe{Err: fault.New(fault.Unsupported, "OpenZFS 2.2.0 cannot tell upper from lower case")}
		}, Broken, "overlayfs on ZFS", "overlayzfs.dataset"},
		"no limits":                {func(f *Facts) { f.Probe.Quota = "off (no /dev/zfs)" }, Warning, "limits", ""},
		"a broken daemon.json":     {func(f *Facts) { f.Docker.ConfigErr = errors.New("line 3") }, Broken, "daemon.json", "json.tool"},
		"userns-remap":             {func(f *Facts) { f.Docker.Config.UsernsRemap = "default" }, Broken, "daemon.json", "userns-remap"},
		"a misspelt option":        {func(f *Facts) { f.Docker.OptionsErr = errors.New("unknown storage option") }, Broken, "daemon.json", "storage options"},
		"not experimental":         {func(f *Facts) { f.Docker.Config.Experimental = false }, Broken, "daemon.json", "overlayzfs setup --way plugin --dataset tank/docker    #"},
		"of another file":          {func(f *Facts) { f.Docker.Config.Experimental, f.Docker.ConfigFile = false, "/x.json" }, Broken, "daemon.json", "--dataset tank/docker --config-file /x.json"},
		"no storage-driver":        {func(f *Facts) { f.Docker.Config.StorageDriver = "" }, Note, "daemon.json", "overlayzfs setup --way plugin"},
		"no storage-driver today":  {func(f *Facts) { f.Docker.Config.StorageDriver, f.Docker.Engine.Version = "", "28.5.2" }, Note, "daemon.json", "overlayzfs setup --way snapshotter"},
		"no plugin":                {func(f *Facts) { f.Docker.Plugin = nil }, Broken, "plugin", "take \"storage-opts\" out; systemctl start docker; make plugin; docker plugin create"},
		"no plugin, and a package": {func(f *Facts) { f.Docker.Plugin, f.Docker.Packaged = nil, "/usr/share/x" }, Broken, "plugin", "systemctl start docker; docker plugin create overlayzfs /usr/share/x; docker plugin enable"},
		"found but disabled":       {func(f *Facts) { f.Docker.Plugin.Enabled = false }, Broken, "plugin", "overlayzfs plugin enable; systemctl start docker"},
		"no engine":                {func(f *Facts) { f.Docker.Engine = nil }, Note, "dockerd", "systemctl status"},
		"an old engine":            {func(f *Facts) { f.Docker.Engine.Version = "19.03.15" }, Warning, "dockerd", "newer"},
		"Docker 27":                {func(f *Facts) { f.Docker.Engine.Version = "27.5.1" }, Broken, "dockerd", "DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1"},
		"Docker 28":                {func(f *Facts) { f.Docker.Engine.Version = "28.5.2" }, Broken, "dockerd", "overlayzfs setup --way snapshotter --dataset tank/docker"},
		"unknown layers":           {func(f *Facts) { f.Store.Unknown = 2 }, Note, "leftovers", "overlayzfs gc"},
		"removals":                 {func(f *Facts) { f.Store.Removing = 2 }, Note, "leftovers", ""},
		"removed containers":       {func(f *Facts) { f.Store.Removed = 3 }, Note, "leftovers", "zfs list -r -t snapshot -o name,used tank/docker/removed    # sanoid: [tank] with recursive = zfs and autoprune = yes, and no section for removed; syncoid beside it: --no-sync-snap --exclude='/docker/removed(/|$)'"},
		"a scratch dataset":        {func(f *Facts) { f.Store.Scratch = []string{"tank/docker/x"} }, Note, "leftovers", "zfs destroy -r tank/docker/x"},
		"a mount":                  {func(f *Facts) { f.Store.Mounts = []string{"/run/x"} }, Note, "leftovers", "umount -R /run/x"},
		"a migration that is to be finished": {func(f *Facts) {
			f.Docker.Migration = &Migration{From: "zfs", To: "overlayzfs", Phase: "done", Done: true, Undoable: true, Next: "overlayzfs migrate --finish"}
		}, Note, "migration", "overlayzfs migrate --finish    # dockerd stopped; `overlayzfs migrate --undo` goes back"},
		"a migration cut short": {func(f *Facts) {
			f.Docker.Migration = &Migration{From: "zfs", To: "overlayzfs", Phase: "carrying", Next: "overlayzfs migrate --from zfs"}
			f.Docker.ConfigFile = "/x.json"
		}, Warning, "migration", "overlayzfs migrate --from zfs --config-file /x.json    #"},
		"a damaged journal": {func(f *Facts) { f.Docker.MigrationErr = errors.New("x") }, Broken, "migration", "a backup"},
		"records of two drivers": {func(f *Facts) {
			f.Docker.Migration = &Migration{From: "zfs", To: "overlayzfs", Phase: "switching", Switching: true, Next: "overlayzfs migrate --from zfs"}
		}, Broken, "migration", "overlayzfs migrate --from zfs"},
		"a rollback cut short":                     {func(f *Facts) { f.Store.Rollback = "x" }, Broken, "store", "overlayzfs rollback tank/docker@x"},
		"a rollback cut short without a data-root": {func(f *Facts) { f.Store.Rollback, f.Store.Err = "x", errors.New("no data-root") }, Broken, "store", "overlayzfs rollback tank/docker@x"},
		"a receive cut short":                      {func(f *Facts) { f.Store.Receiving = "x" }, Broken, "store", "overlayzfs receive --finish --yes --dataset tank/docker"},
		"damaged layers":                           {func(f *Facts) { f.Store.Damaged = 1 }, Broken, "store", "overlayzfs verify"},
		"missing layers":                           {func(f *Facts) { f.Store.Missing = 1 }, Broken, "store", "overlayzfs verify"},
		"a store not looked at":                    {func(f *Facts) { f.Store.Err = errors.New("x") }, Note, "store", ""},
		"a store that is nowhere":                  {func(f *Facts) { f.Docker.LocationErr = errors.New("x") }, Note, "store", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := fit()
			tt.harm(&f)
			found := Examine(f)
			for _, f := range found {
				if f.Check == tt.check && f.Severity == tt.severity && strings.Contains(f.Remedy, tt.remedy) {
					if Worst(found) != found[0].Severity {
						t.Error("the worst is not the first")
					}
					return
				}
			}
			t.Errorf("not found: %+v", found)
		})
	}
}

// TestDocker27And28AsTheyShouldBe have nothing wrong with their way in.
func TestDocker27And28AsTheyShouldBe(t *testing.T) {
	for version, change := range map[string]func(*Facts){
		"27.5.1": func(f *Facts) { f.Docker.Engine.Deprecated = true },
		"28.5.2": func(f *Facts) {
			f.Docker.Config.Features = map[string]bool{"containerd-snapshotter": true}
			f.Docker.Config.Experimental, f.Docker.Plugin = false, nil
		},
	} {
		f := fit()
		f.Docker.Engine.Version = version
		change(&f)
		if found := Examine(f); Worst(found) != OK {
			t.Errorf("%s: %+v", version, found[0])
		}
	}
}

// TestLevelsOfCompression: the property has them above the algorithm.
func TestLevelsOfCompression(t *testing.T) {
	for value, want := range map[uint64]string{16: "zstd", 16 | 3<<7: "zstd-3", 16 | 19<<7: "zstd-19", 16 | 103<<7: "zstd-fast", 15: "lz4", 13: "gzip-9"} {
		f := fit()
		f.Stats.Properties["compression"] = number(value)
		if left := FindUnadvised(*f.Stats, f.Module); len(left) > 0 {
			t.Errorf("%s is to be %+v", want, left)
		}
		if found := Examine(f); !slices.ContainsFunc(found, func(f Finding) bool { return f.Found == "compression="+want && f.Severity == OK }) {
			t.Errorf("%s: %+v", want, found)
		}
	}
}

// TestAStoreInPlaceIsMountedAsTheDataRoot, and has to stay so.
func TestAStoreInPlaceIsMountedAsTheDataRoot(t *testing.T) {
	f := fit()
	f.InPlace, f.Stats.Properties["mountpoint"] = true, zfs.Property{Value: zfs.String("/var/lib/docker"), Source: "tank/docker"}
	for _, found := range Examine(f) {
		if found.Severity > OK && found.Check != "in place" {
			t.Errorf("%+v", found)
		}
	}
}

// TestHiddenPlugin is not reported as missing.
func TestHiddenPlugin(t *testing.T) {
	f := fit()
	f.Docker.Plugin, f.Docker.PluginErr = nil, errors.New("x")
	if found := Examine(f); Worst(found) != OK {
		t.Errorf("%+v", found[0])
	}
}

// TestAccept lowers warnings of the checks named, and nothing else.
func TestAccept(t *testing.T) {
	f := fit()
	f.Pool.Capacity, f.Stats.Properties["xattr"] = 85, number(1)
	if got := Worst(Accept(Examine(f), []string{"pool space"})); got != Warning {
		t.Errorf("the other warning is %s", got)
	}
	if got := Worst(Accept(Examine(f), []string{"pool space", "property"})); got != Note {
		t.Errorf("both are accepted, and the worst is %s", got)
	}
	f.Pool.Capacity = 97
	if got := Worst(Accept(Examine(f), []string{"pool space", "property"})); got != Broken {
		t.Errorf("what is broken is %s", got)
	}
}

func TestVersions(t *testing.T) {
	for text, linux := range map[string]string{"2.2.2-1": "6.6", "2.3.0-rc5": "6.12", "2.3.8": "7.0", "2.4.4-1": "7.2", "2.2.11": "6.17"} {
		v, readable := parseVersion(text)
		if got, ok := newestKernel(v); !readable || !ok || got.String() != linux {
			t.Errorf("%s is for kernels up to %s, %v", text, got, ok)
		}
	}
	for _, text := range []string{"2.4.5", "2.5.0", "3.0.0"} {
		v, _ := parseVersion(text)
		if _, ok := newestKernel(v); ok {
			t.Errorf("%s is known", text)
		}
		for _, d := range defects {
			if _, has := d.affects(v); has {
				t.Errorf("%s has #%d", text, d.issue)
			}
		}
	}
	if _, ok := parseVersion("unknown"); ok {
		t.Error("no version is one")
	}
}

func TestSeveritiesAreWords(t *testing.T) {
	raw, err := json.Marshal(Finding{Check: "x", Severity: Broken, Found: "y"})
	if err != nil || string(raw) != `{"check":"x","severity":"broken","found":"y"}` {
		t.Errorf("%s, %v", raw, err)
	}
}
