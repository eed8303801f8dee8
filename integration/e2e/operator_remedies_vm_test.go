//go:build vm

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fault is a fault of a host, and what the doctor has to say about it.
type fault struct {
	name     string
	harm     string // script that causes the fault
	severity string
	found    string // part of the finding's text
	dataset  string // the dataset examined; "" is the engine's
	after    string // script that reverts the remedy's lasting change
}

func (s fault) matches(f finding) bool {
	return f.Severity == s.severity && strings.Contains(f.Found, s.found)
}

// remediesHelp causes one fault after another. The doctor has to find each, and its
// remedy, pasted into a shell, has to help.
func (s *operatorEngine) remediesHelp(t *testing.T) {
	for _, sick := range slices.Concat(s.datasetFaults(), s.hostFaults(), s.storeFaults(t)) {
		t.Run(sick.name, func(t *testing.T) { s.requireRemedyHelps(t, sick) })
	}
	t.Run("OfAnotherPool", s.remediesHelpOnAnotherPool)
}

func (s *operatorEngine) requireRemedyHelps(t *testing.T, sick fault) {
	args := []string{"--quick"}
	if sick.dataset != "" {
		args = append(args, "--dataset", sick.dataset)
	}
	s.runShell(t, "", sick.harm)
	found, code := s.runDoctor(t, args...)
	i := slices.IndexFunc(found, sick.matches)
	if i < 0 {
		t.Fatalf("doctor does not find the fault: %+v", found)
	}
	want := map[string]int{"note": 0, "warning": 5, "broken": 6}[sick.severity]
	if f := found[i]; code != want || f.Reason == "" {
		t.Errorf("%+v, exit code %d", f, code)
	}
	t.Log(found[i].Remedy)
	t.Log(s.runShell(t, answerTo(found[i].Remedy), found[i].Remedy))
	again, code := s.runDoctor(t, args...)
	if slices.ContainsFunc(again, sick.matches) || code != 0 {
		t.Errorf("after the remedy: %+v, exit code %d", again, code)
	}
	s.runShell(t, "", sick.after)
}

// answerTo returns the answer to what a remedy asks. Only our own commands ask, and
// script(1) waits for two seconds at its end when nobody has read its input.
func answerTo(remedy string) string {
	if strings.Contains(remedy, "overlayzfs ") {
		return "yes\n"
	}
	return ""
}

// runShell runs a script as root, on a terminal if the script needs an answer.
func (s *operatorEngine) runShell(t testing.TB, answer, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	if answer != "" {
		cmd = exec.Command("script", "--quiet", "--return", "--command", script, "/dev/null")
		cmd.Stdin = strings.NewReader(answer)
	}
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(operatorPath)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func (s *operatorEngine) datasetFaults() []fault {
	set := func(name, property, severity, found string) fault {
		return fault{name: name, harm: "zfs set " + property + " " + s.dataset, severity: severity, found: found}
	}
	return []fault{
		set("Compression", "compression=off", "warning", "compression=off"),
		set("Xattr", "xattr=dir", "warning", "xattr=dir"),
		set("Dnodes", "dnodesize=legacy", "note", "dnodesize=legacy"),
		set("ACLs", "acltype=off", "note", "acltype=off"),
		set("AccessTimes", "atime=on", "note", "atime=on"),
		set("Records", "recordsize=4K", "note", "recordsize=4K"),
		set("Sync", "sync=always", "warning", "sync=always"),
		set("Quota", "quota=$(zpool sync; echo $(($(zfs get -Hpo value used "+s.dataset+") * 10 / 9)))", "warning", "quota="),
		set("ReadOnly", "readonly=on", "broken", "readonly=on"),
		{name: "Mountpoint", harm: "zfs set mountpoint=/run/elsewhere " + s.dataset + "; zfs unmount " + s.dataset, severity: "note", found: "mountpoint=/run/elsewhere"},
	}
}

func (s *operatorEngine) hostFaults() []fault {
	arc := "/sys/module/zfs/parameters/zfs_arc_max"
	kilobytes := `$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)`
	return []fault{
		{name: "SmallCache", harm: "echo $((" + kilobytes + " * 1024 / 20)) >" + arc, severity: "note", found: "of memory"},
		{name: "GreedyCache", harm: "echo $((" + kilobytes + " * 1024 / 8 * 7)) >" + arc, severity: "note", found: "of memory"},
		{name: "NoTrim", harm: "for disk in /sys/block/*/queue/rotational; do echo 0 >$disk; done", severity: "note", found: "no disk here rotates", after: "zpool set autotrim=off tank"},
		{name: "NoDevice", harm: "rm /dev/zfs", severity: "broken", found: "/dev/zfs"},
		{name: "NotExperimental", harm: `sed -i 's/"experimental": true/"experimental": false/' ` + s.UsedConfig(), severity: "broken", found: "experimental",
			after: "rm " + s.UsedConfig() + ".before-overlayzfs"},
		{name: "NoStorageDriver", harm: `sed -i -z 's/,\n *"storage-driver": "overlayzfs"//' ` + s.UsedConfig(), severity: "note", found: "no storage-driver",
			after: "rm " + s.UsedConfig() + ".before-overlayzfs"},
	}
}

func (s *operatorEngine) storeFaults(t *testing.T) []fault {
	snapshot := "overlayzfs snapshot --config-file " + s.UsedConfig()
	return []fault{
		{name: "Scratch", harm: "zfs create " + s.dataset + "/overlayzfs-doctor-1", severity: "note", found: "/overlayzfs-doctor-1"},
		{name: "Mount", harm: "mkdir /run/overlayzfs-store-1 && mount -t tmpfs x /run/overlayzfs-store-1", severity: "note", found: "mount /run/overlayzfs-store-1"},
		{name: "CutShortRollback", harm: "name=$(" + snapshot + ") && zfs set overlayzfs:rollback=${name#*@} " + s.dataset, severity: "broken", found: "was cut short",
			after: "zfs list -H -o name -t snapshot -r " + s.dataset + " | xargs -n 1 zfs destroy"},
		{name: "Nobodys", harm: s.scriptToForget(t, "nobodys:latest"), severity: "note", found: "that Docker does not know"},
	}
}

// scriptToForget returns a script that deletes Docker's records of an image.
func (s *operatorEngine) scriptToForget(t testing.TB, image string) string {
	records := filepath.Join(s.Root, "image/overlayzfs")
	script := "rm -r"
	for _, layer := range s.list(t).Layers {
		if slices.Equal(layer.Images, []string{image}) {
			script += " " + filepath.Join(records, "layerdb/sha256", strings.TrimPrefix(layer.Chain, "sha256:"))
		}
	}
	return script + "; rm " + filepath.Join(records, "imagedb/content/sha256", s.recordedImageID(t, image))
}

// recordedImageID returns the hexadecimal ID that Docker records for a name.
func (s *operatorEngine) recordedImageID(t testing.TB, image string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.Root, "image/overlayzfs/repositories.json"))
	must(t, err)
	var names struct{ Repositories map[string]map[string]string }
	must(t, json.Unmarshal(raw, &names))
	repository, _, _ := strings.Cut(image, ":")
	return strings.TrimPrefix(names.Repositories[repository][image], "sha256:")
}

// remediesHelpOnAnotherPool causes faults on a second pool, which the engine's own pool
// would not survive.
func (s *operatorEngine) remediesHelpOnAnotherPool(t *testing.T) {
	files := createSecondPool(t, "second", "mirror", "a", "b")
	dir := filepath.Dir(files[0])
	t.Setenv("ZPOOL_IMPORT_PATH", dir) // zpool import looks for devices; this pool's are files
	const dataset, secret = "second/docker", "second/secret"
	advised := "zfs create -o mountpoint=legacy -o compression=lz4 -o xattr=sa -o acltype=posix -o dnodesize=auto -o atime=off "
	s.runShell(t, "", advised+dataset)
	s.runShell(t, "", "head -c 32 /dev/urandom >"+dir+"/key && "+advised+"-o encryption=on -o keyformat=raw -o keylocation=file://"+dir+"/key "+secret)
	for _, sick := range []fault{
		{name: "DeviceOffline", harm: "zpool offline second " + files[1], severity: "warning", found: "second is DEGRADED", dataset: dataset},
		{name: "PoolReadOnly", harm: "zpool export second && zpool import -o readonly=on second", severity: "broken", found: "imported read-only", dataset: dataset},
		{name: "NoPool", harm: "zpool export second", severity: "broken", found: "second/docker", dataset: dataset},
		{name: "NoKey", harm: "zfs unload-key -a", severity: "broken", found: "keystatus=unavailable", dataset: secret},
		{name: "NoDataset", harm: "zfs destroy " + dataset, severity: "broken", found: "second/docker", dataset: dataset},
	} {
		t.Run(sick.name, func(t *testing.T) { s.requireRemedyHelps(t, sick) })
	}
}
