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

// TestOperator runs the operator's command on the store of a real engine, beside
// it and without it. Its parts follow one another.
func TestOperator(t *testing.T) {
	s := newOperatedSite(t)
	t.Run("LooksBesideTheEngine", s.looks)
	t.Run("IsAPluginOfDocker", s.isPluginOfDocker)
	t.Run("RefusesToCollectBesideTheEngine", s.collectsNothing)
	t.Run("ExaminesBesideTheEngine", s.examines)
	s.Stop(t)
	t.Run("LooksWithoutTheEngine", s.looks)
	t.Run("ExaminesWithoutTheEngine", s.examines)
	t.Run("NamesTheRemedy", s.namesTheRemedy)
	t.Run("ExaminesAnUnfitDataset", s.examinesAnUnfitDataset)
	t.Run("FindsABrokenConfiguration", s.brokenConfiguration)
	t.Run("FindsEveryChange", s.findsChanges)
	t.Run("CollectsWhatIsNobodys", s.collects)
}

// operatedSite is an engine with an image that has one of everything, others by
// each builder, and containers with and without a limit.
type operatedSite struct{ *site }

func newOperatedSite(t *testing.T) *operatedSite {
	s := &operatedSite{newSite(t, "operated", nil)}
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	must(t, images.BuildKit.Build(s.Engine, "changes:"+images.BuildKit.Name, images.Everything(t), "--target", "changes"))
	buildImage(t, s.Engine, "built") // by the classic builder
	importTiny(t, s.Engine, "nobodys")
	s.Docker(t, "create", "--network", "none", "--name", "plain", "built", "true")
	startContainer(t, s.Engine, "limited", "--storage-opt", "size=64M")
	s.Docker(t, "stop", "limited")
	return s
}

// operate runs the command as an administrator who says only where daemon.json
// is.
func (s *operatedSite) operate(t testing.TB, code int, args ...string) string {
	t.Helper()
	cmd := exec.Command(operatorsCommand, append(args, "--config-file", s.UsedConfig())...)
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

// asJSON is the part of what ls says that is compared here.
type asJSON struct {
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

func (s *operatedSite) list(t testing.TB) (l asJSON) {
	t.Helper()
	cmd := exec.Command(operatorsCommand, "ls", "--json", "--config-file", s.UsedConfig())
	raw, err := cmd.Output()
	must(t, err)
	must(t, json.Unmarshal(raw, &l))
	return l
}

// looks reads all there is to read, and compares it with what Docker says.
func (s *operatedSite) looks(t *testing.T) {
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
	// A running engine has BuildKit's records locked.
	if running := len(pidsOf("dockerd")) > 0; running != l.BuildsLocked || len(l.Warnings) > 0 || kinds["unknown"] > 0 {
		t.Errorf("running %v: %v, locked %v, %q", running, kinds, l.BuildsLocked, l.Warnings)
	}
	for _, args := range [][]string{{"ls"}, {"ls", "--quick"}, {"tree"}, {"inspect", "limited"}, {"inspect", "built"}} {
		t.Logf("%s\n%s", args, s.operate(t, 0, args...))
	}
	t.Log(s.operate(t, 0, "df"))
	t.Log(s.operate(t, 0, "verify"))
	t.Log(s.operate(t, 0, "verify", "changes:"+images.BuildKit.Name, "limited"))
}

func (s *operatedSite) isPluginOfDocker(t *testing.T) {
	dir := s.CommandLinePlugins()
	must(t, os.MkdirAll(dir, 0o755))
	program, err := os.ReadFile(operatorsCommand)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "docker-overlayzfs"), program, 0o755))
	if out := s.Docker(t, "overlayzfs", "ls", "--quick", "--config-file", s.UsedConfig()); !strings.Contains(out, "built:latest") {
		t.Errorf("docker overlayzfs ls:\n%s", out)
	}
	if out := s.Docker(t, "--help"); lineWith(out, "overlayzfs*", "Look after") == "" {
		t.Errorf("docker --help:\n%s", out)
	}
	cmd := s.Command("overlayzfs", "inspect", "none", "--config-file", s.UsedConfig())
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the exit code does not come through docker: %v", err)
	}
}

func (s *operatedSite) collectsNothing(t *testing.T) {
	for _, mode := range []string{"--dry-run", "--yes"} {
		if out := s.operate(t, 3, "gc", mode); !strings.Contains(out, "stop dockerd") {
			t.Errorf("gc %s says\n%s", mode, out)
		}
	}
}

// within runs something with the dataset mounted.
func (s *operatedSite) within(t testing.TB, do func(home string)) {
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

// findsChanges spoils a layer in ways that do and do not show in a file's
// content, and puts it right again.
func (s *operatedSite) findsChanges(t *testing.T) {
	for name, tt := range map[string]struct{ spoil, mend, says string }{
		"Content": {
			"mkdir /run/kept; for f in */diff/lower/copied-over; do cp -a --parents $f /run/kept; printf x >>$f; done",
			"home=$PWD; cd /run/kept; for f in */diff/lower/copied-over; do cp -a $f $home/$f; done; rm -r /run/kept", "integrity",
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
			s.within(t, func(home string) { run(t, "sh", "-c", "cd "+home+" && "+tt.spoil) })
			out := s.operate(t, 6, "verify")
			t.Log(out)
			if !strings.Contains(out, "changes:") || !strings.Contains(out, tt.says) {
				t.Errorf("the image or the reason is not named")
			}
			s.within(t, func(home string) { run(t, "sh", "-c", "cd "+home+" && "+tt.mend) })
			s.operate(t, 0, "verify")
		})
	}
}

// collects takes Docker's records of an image away and has its layers removed,
// and no others.
func (s *operatedSite) collects(t *testing.T) {
	if out := s.operate(t, 0, "gc", "--yes"); !strings.Contains(out, "does not know 0 layers") {
		t.Errorf("something is nobody's before anything was done:\n%s", out)
	}
	nobodys := s.forget(t, "changes:"+images.BuildKit.Name)
	before := s.list(t)
	unknown := only(before, "unknown")
	plan := s.operate(t, 0, "gc", "--dry-run")
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
	if out := s.operate(t, 3, "gc", "--yes", "--root", other, "--dataset", s.dataset); !strings.Contains(out, "another store") {
		t.Errorf("with the records of another engine:\n%s", out)
	}
	s.operate(t, 0, "gc", "--yes")
	after := s.list(t)
	for _, layer := range after.Layers {
		if slices.Contains(unknown, layer.ID) {
			t.Errorf("layer %s is left, %s", layer.ID, layer.Kind)
		}
	}
	if got, want := len(after.Layers), len(before.Layers)-len(unknown); got != want {
		t.Errorf("%d layers are left, want %d", got, want)
	}
	s.operate(t, 0, "verify")
	engineIsGone(t, s.Root, s.dataset)
	s.Again(t)
	if out := runTiny(t, s.Engine, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the other image holds %q", out)
	}
	s.Docker(t, "start", "limited")
	intact(t, s.Engine, "limited")
	s.Docker(t, "rm", "-f", "limited", "plain")
}

// only are the layers of a kind.
func only(l asJSON, kind string) (ids []string) {
	for _, layer := range l.Layers {
		if layer.Kind == kind {
			ids = append(ids, layer.ID)
		}
	}
	return ids
}

// forget deletes Docker's records of an image and of the layers that no other
// image has, and returns the layers' IDs.
func (s *operatedSite) forget(t testing.TB, image string) (ids []string) {
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
	must(t, os.Remove(filepath.Join(records, "imagedb/content/sha256", s.imageID(t, image))))
	// BuildKit would go on to know them.
	must(t, os.RemoveAll(filepath.Join(s.Root, "buildkit")))
	t.Logf("%s had %d layers of its own", image, len(ids))
	return ids
}
