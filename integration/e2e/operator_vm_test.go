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

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
)

// TestOperator runs the operator's command on a real engine's store, beside the engine
// and without it. Its parts depend on their order.
func TestOperator(t *testing.T) {
	s := newOperatorEngine(t)
	t.Run("ListsAndVerifiesBesideTheEngine", s.listsAndVerifies)
	t.Run("RunsAsDockerPlugin", s.runsAsDockerPlugin)
	t.Run("GCRefusesBesideTheEngine", s.gcRefusesBesideTheEngine)
	t.Run("DoctorFindsAFitHostBesideTheEngine", s.doctorFindsAFitHost)
	s.Stop(t)
	t.Run("ListsAndVerifiesWithoutTheEngine", s.listsAndVerifies)
	t.Run("DoctorFindsAFitHostWithoutTheEngine", s.doctorFindsAFitHost)
	t.Run("RemediesHelp", s.remediesHelp)
	t.Run("DoctorFindsAnUnfitDataset", s.doctorFindsAnUnfitDataset)
	t.Run("DoctorFindsBrokenConfigurations", s.doctorFindsBrokenConfigurations)
	t.Run("VerifyFindsChanges", s.verifyFindsChanges)
	t.Run("GCRemovesOrphans", s.gcRemovesOrphans)
}

// operatorEngine is an engine with an image of every file type, images of both
// builders, and containers with and without a limit.
type operatorEngine struct{ *testEngine }

func newOperatorEngine(t *testing.T) *operatorEngine {
	s := &operatorEngine{newTestEngine(t, "operated", nil)}
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	must(t, images.BuildKit.Build(s.Engine, "changes:"+images.BuildKit.Name, images.WriteEverythingContext(t), "--target", "changes"))
	buildImage(t, s.Engine, "built") // by the classic builder
	importTiny(t, s.Engine, "nobodys")
	s.Docker(t, "create", "--network", "none", "--name", "plain", "built", "true")
	startContainer(t, s.Engine, "limited", "--storage-opt", "size=64M")
	s.StopContainers(t, "limited")
	return s
}

// runOperator runs the operator's command, told nothing but the path of daemon.json.
func (s *operatorEngine) runOperator(t testing.TB, code int, args ...string) string {
	t.Helper()
	cmd := exec.Command(operatorPath, append(args, "--config-file", s.UsedConfig())...)
	out, errs := &strings.Builder{}, &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("overlayzfs %q exits with %d, want %d\n%s%s", args, got, code, out, errs)
	}
	if all := out.String() + errs.String(); strings.Contains(all, "level=") {
		t.Errorf("overlayzfs %q prints lines of the driver's log:\n%s", args, all)
	}
	return out.String() + errs.String()
}

// listing is the part of the output of ls that this test compares.
type listing struct {
	Layers []struct {
		ID, Kind, Chain string
		Images          []string
		Containers      []string
		Size            *struct{ Apparent, Allocated int64 }
		Limit           *struct{ Bytes int64 }
	}
	Missing      []any
	Warnings     []string
	BuildsLocked bool `json:"builds_locked"`
}

func (s *operatorEngine) list(t testing.TB) (l listing) {
	t.Helper()
	cmd := exec.Command(operatorPath, "ls", "--json", "--config-file", s.UsedConfig())
	raw, err := cmd.Output()
	must(t, err)
	must(t, json.Unmarshal(raw, &l))
	return l
}

// listsAndVerifies runs every command that only reads, and compares the results with
// what Docker says.
func (s *operatorEngine) listsAndVerifies(t *testing.T) {
	l := s.list(t)
	kinds := map[string]int{}
	for _, layer := range l.Layers {
		kinds[layer.Kind]++
		if layer.Size == nil {
			t.Errorf("%s layer %s has no size", layer.Kind, layer.ID)
		}
		if limited := layer.Kind == "container" && slices.Contains(layer.Containers, "limited"); limited != (layer.Limit != nil && layer.Limit.Bytes == 64*mib) {
			t.Errorf("the limit of %s layer %s (%q) is %+v", layer.Kind, layer.ID, layer.Containers, layer.Limit)
		}
	}
	if kinds["container"] != 2 || kinds["init"] != 2 || kinds["image"] < 20 || len(l.Missing) > 0 {
		t.Errorf("%v, missing %v", kinds, l.Missing)
	}
	// A running engine locks BuildKit's records.
	if running := len(findProcesses("dockerd")) > 0; running != l.BuildsLocked || len(l.Warnings) > 0 || kinds["unknown"] > 0 {
		t.Errorf("running %v: %v, locked %v, %q", running, kinds, l.BuildsLocked, l.Warnings)
	}
	for _, args := range [][]string{{"ls"}, {"ls", "--quick"}, {"tree"}, {"inspect", "limited"}, {"inspect", "built"}} {
		t.Logf("%s\n%s", args, s.runOperator(t, 0, args...))
	}
	t.Log(s.runOperator(t, 0, "df"))
	t.Log(s.runOperator(t, 0, "verify"))
	t.Log(s.runOperator(t, 0, "verify", "changes:"+images.BuildKit.Name, "limited"))
}

func (s *operatorEngine) runsAsDockerPlugin(t *testing.T) {
	dir := s.CommandLinePlugins()
	must(t, os.MkdirAll(dir, 0o755))
	program, err := os.ReadFile(operatorPath)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "docker-overlayzfs"), program, 0o755))
	if out := s.Docker(t, "overlayzfs", "ls", "--quick", "--config-file", s.UsedConfig()); !strings.Contains(out, "built:latest") {
		t.Errorf("docker overlayzfs ls:\n%s", out)
	}
	if out := s.Docker(t, "--help"); findLine(out, "overlayzfs*", "Manage a store") == "" {
		t.Errorf("docker --help:\n%s", out)
	}
	cmd := s.Command("overlayzfs", "inspect", "none", "--config-file", s.UsedConfig())
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the exit code does not come through docker: %v", err)
	}
}

func (s *operatorEngine) gcRefusesBesideTheEngine(t *testing.T) {
	for _, mode := range []string{"--dry-run", "--yes"} {
		if out := s.runOperator(t, 3, "gc", mode); !strings.Contains(out, "stop dockerd") {
			t.Errorf("gc %s says\n%s", mode, out)
		}
	}
}

// mountStore calls do with the dataset mounted.
func (s *operatorEngine) mountStore(t testing.TB, do func(home string)) {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "store-")
	must(t, err)
	run(t, "mount", "-t", "zfs", s.dataset, dir)
	defer func() {
		run(t, "umount", dir)
		must(t, os.Remove(dir))
	}()
	do(dir)
}

// verifyFindsChanges changes a layer with and without changing a file's content, and
// reverts the change.
func (s *operatorEngine) verifyFindsChanges(t *testing.T) {
	for name, tt := range map[string]struct{ spoil, mend, says string }{
		"Content": {
			"mkdir /run/kept; for f in */diff/lower/copied-over; do cp -a --parents $f /run/kept; printf x >>$f; done",
			"home=$PWD; cd /run/kept; for f in */diff/lower/copied-over; do cp -a $f $home/$f; done; rm -r /run/kept", "copied-over",
		},
		"Deletion": {
			"for f in */diff/lower/delete-file; do if test -c $f; then mv $f $f.kept; fi; done",
			"for f in */diff/lower/delete-file.kept; do mv $f ${f%.kept}; done", "delete-file",
		},
		"Mode": {
			"for f in */diff/lower/suid; do if test -u $f; then chmod u-s $f; echo $f >>/run/kept; fi; done",
			"chmod u+s $(cat /run/kept); rm /run/kept", "mode",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.mountStore(t, func(home string) { run(t, "sh", "-c", "cd "+home+" && "+tt.spoil) })
			out := s.runOperator(t, 6, "verify")
			t.Log(out)
			if !strings.Contains(out, "changes:") || !strings.Contains(out, tt.says) {
				t.Errorf("the image or the reason is not named")
			}
			s.mountStore(t, func(home string) { run(t, "sh", "-c", "cd "+home+" && "+tt.mend) })
			s.runOperator(t, 0, "verify")
		})
	}
}

// gcRemovesOrphans deletes Docker's records of an image, and has gc remove its layers
// and no others.
func (s *operatorEngine) gcRemovesOrphans(t *testing.T) {
	if out := s.runOperator(t, 0, "gc", "--yes"); !strings.Contains(out, "do not know 0 layers") {
		t.Errorf("gc finds orphans before any record is deleted:\n%s", out)
	}
	nobodys := s.forgetImage(t, "changes:"+images.BuildKit.Name)
	before := s.list(t)
	unknown := layersOfKind(before, "unknown")
	plan := s.runOperator(t, 0, "gc", "--dry-run")
	t.Log(plan)
	for _, id := range nobodys {
		if !strings.Contains(plan, id) || !slices.Contains(unknown, id) {
			t.Errorf("layer %s is not in the plan", id)
		}
	}
	if len(s.list(t).Layers) != len(before.Layers) {
		t.Error("a dry run removed something")
	}
	other := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(other, "image", engine.PluginName, "layerdb"), 0o755))
	if out := s.runOperator(t, 3, "gc", "--yes", "--root", other, "--dataset", s.dataset); !strings.Contains(out, "another store") {
		t.Errorf("with the records of another engine:\n%s", out)
	}
	s.runOperator(t, 0, "gc", "--yes")
	after := s.list(t)
	for _, layer := range after.Layers {
		if slices.Contains(unknown, layer.ID) {
			t.Errorf("layer %s is left, %s", layer.ID, layer.Kind)
		}
	}
	if got, want := len(after.Layers), len(before.Layers)-len(unknown); got != want {
		t.Errorf("%d layers are left, want %d", got, want)
	}
	s.runOperator(t, 0, "verify")
	requireEngineStopped(t, s.Engine, s.dataset)
	s.Again(t)
	if out := runTiny(t, s.Engine, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the other image holds %q", out)
	}
	s.StartContainers(t, "limited")
	requireIntact(t, s.Engine, "limited")
	s.RemoveContainers(t, "limited", "plain")
}

// layersOfKind returns the IDs of the layers of a kind.
func layersOfKind(l listing, kind string) (ids []string) {
	for _, layer := range l.Layers {
		if layer.Kind == kind {
			ids = append(ids, layer.ID)
		}
	}
	return ids
}

// forgetImage deletes Docker's records of an image, and of the layers that no other
// image has. It returns the layers' IDs.
func (s *operatorEngine) forgetImage(t testing.TB, image string) (ids []string) {
	t.Helper()
	records := filepath.Join(s.Root, "image", engine.PluginName)
	for _, layer := range s.list(t).Layers {
		if layer.Kind != "image" || !slices.Equal(layer.Images, []string{image}) {
			continue
		}
		ids = append(ids, layer.ID)
		must(t, os.RemoveAll(filepath.Join(records, "layerdb/sha256", strings.TrimPrefix(layer.Chain, "sha256:"))))
	}
	if len(ids) == 0 {
		t.Fatalf("%s has no layer of its own", image)
	}
	must(t, os.Remove(filepath.Join(records, "imagedb/content/sha256", s.recordedImageID(t, image))))
	// BuildKit has records of these layers, too.
	must(t, os.RemoveAll(filepath.Join(s.Root, "buildkit")))
	t.Logf("%s had %d layers of its own", image, len(ids))
	return ids
}
