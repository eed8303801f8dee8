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

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// finding is one result of overlayzfs doctor.
type finding struct{ Check, Severity, Found, Reason, Remedy string }

// runDoctor examines the host and returns the findings and the exit code.
func (s *operatorEngine) runDoctor(t testing.TB, args ...string) (found []finding, code int) {
	t.Helper()
	cmd := exec.Command(operatorPath, append([]string{"doctor", "--json", "--host", s.Host(), "--config-file", s.UsedConfig()}, args...)...)
	errs := &strings.Builder{}
	cmd.Stderr = errs
	raw, err := cmd.Output()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		t.Fatalf("%v: %s%s", err, raw, errs)
	}
	if strings.Contains(errs.String(), "level=") {
		t.Errorf("lines of the driver's log are among what it prints:\n%s", errs)
	}
	return found, cmd.ProcessState.ExitCode()
}

// doctorFindsAFitHost examines the lab's host, on which no finding may be worse than a
// note.
func (s *operatorEngine) doctorFindsAFitHost(t *testing.T) {
	found, code := s.runDoctor(t)
	seen := map[string]bool{}
	for _, f := range found {
		seen[f.Check] = true
		t.Logf("%s %s: %s (%s) -> %s", f.Severity, f.Check, f.Found, f.Reason, f.Remedy)
		if f.Severity == "warning" || f.Severity == "broken" {
			t.Errorf("on a fit host doctor reports %s %s: %s", f.Severity, f.Check, f.Found)
		}
	}
	if code != 0 {
		t.Errorf("doctor exits with %d", code)
	}
	for _, check := range []string{"kernel", "OpenZFS", "/dev/zfs", "pool health", "pool space", "autotrim", "ARC", "dataset", "property", "overlayfs on ZFS", "limits", "copy-up", "daemon.json", "plugin", "dockerd"} {
		if !seen[check] {
			t.Errorf("doctor does not report %s", check)
		}
	}
	for _, name := range inguest.ListDatasets(t, s.dataset) {
		if strings.Contains(name, "doctor") {
			t.Errorf("dataset %s is left", name)
		}
	}
	if left, _ := filepath.Glob("/run/overlayzfs-doctor-*"); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
	t.Log(s.runOperator(t, 0, "doctor", "--quick", "--all", "--host", s.Host()))
}

// doctorFindsAnUnfitDataset examines a dataset on which the driver cannot start. The
// doctor's scratch dataset inherits the fault.
func (s *operatorEngine) doctorFindsAnUnfitDataset(t *testing.T) {
	unfit := s.dataset + "-unfit"
	run(t, "zfs", "create", "-o", "mountpoint=legacy", "-o", "casesensitivity=insensitive", unfit)
	defer run(t, "zfs", "destroy", "-r", unfit)
	found, code := s.runDoctor(t, "--dataset", unfit)
	i := slices.IndexFunc(found, func(f finding) bool { return f.Check == "overlayfs on ZFS" })
	if i < 0 || found[i].Severity != "broken" || !strings.Contains(found[i].Found, "casesensitivity=sensitive") || code != 6 {
		t.Errorf("exit code %d, %+v", code, found)
	}
}

// doctorFindsBrokenConfigurations breaks daemon.json in ways that keep dockerd from
// starting.
func (s *operatorEngine) doctorFindsBrokenConfigurations(t *testing.T) {
	good, err := os.ReadFile(s.UsedConfig())
	must(t, err)
	defer func() { must(t, os.WriteFile(s.UsedConfig(), good, 0o600)) }()
	for name, tt := range map[string]struct{ config, found string }{
		"Syntax":          {strings.Replace(string(good), "{", "{,", 1), "line 1, column 2"},
		"Userns":          {strings.Replace(string(good), "{", `{"userns-remap": "default",`, 1), "userns-remap=default"},
		"Option":          {strings.Replace(string(good), "{", `{"storage-opts": ["overlayzfs.nonsense=1"],`, 1), "overlayzfs.nonsense"},
		"NotExperimental": {strings.Replace(string(good), `"experimental": true`, `"experimental": false`, 1), "experimental"},
	} {
		must(t, os.WriteFile(s.UsedConfig(), []byte(tt.config), 0o600))
		found, code := s.runDoctor(t, "--quick")
		i := slices.IndexFunc(found, func(f finding) bool { return f.Check == "daemon.json" })
		if i < 0 || found[i].Severity != "broken" || !strings.Contains(found[i].Found, tt.found) || found[i].Remedy == "" || code != 6 {
			t.Errorf("%s: exit code %d, %+v", name, code, found)
		}
	}
}
