//go:build vm

package conformance

import (
	"strings"
	"testing"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/daemon/graphdriver/graphtest"
)

// The suite, once for each driver. graphtest turns a driver that fails to
// start into a skip; requireDriver turns that into a failure.

func TestOverlayzfs(t *testing.T) { suite(t, registeredName) }
func TestOverlay2(t *testing.T)   { suite(t, "overlay2") }
func TestVFS(t *testing.T)        { suite(t, "vfs") }

func suite(t *testing.T, driver string) {
	requireDriver(t, driver)
	run := func(name string, test func(t testing.TB, driver string, options ...string)) {
		t.Run(name, func(t *testing.T) { test(t, driver) })
	}
	run("CreateEmpty", graphtest.DriverTestCreateEmpty)
	run("CreateBase", graphtest.DriverTestCreateBase)
	run("CreateSnap", graphtest.DriverTestCreateSnap)
	t.Run("DeepLayerRead125", func(t *testing.T) { graphtest.DriverTestDeepLayerRead(t, 125, driver) })
	t.Run("DiffApply10", func(t *testing.T) { graphtest.DriverTestDiffApply(t, 10, driver) })
	t.Run("DiffApply1000", func(t *testing.T) { graphtest.DriverTestDiffApply(t, 1000, driver) })
	run("Changes", graphtest.DriverTestChanges)
}

// requireDriver opens the driver once, so that trouble is a failure.
func requireDriver(t *testing.T, name string) {
	t.Helper()
	d, err := graphdriver.GetDriver(name, nil, graphdriver.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatalf("%s does not start: %v", name, err)
	}
	if err := d.Cleanup(); err != nil {
		t.Errorf("cleanup: %v", err)
	}
}

// TestSetQuotaIsRefused: limits come later, and until then are refused in
// clear words and never silently ignored.
func TestSetQuotaIsRefused(t *testing.T) {
	d, err := graphdriver.GetDriver(registeredName, nil, graphdriver.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	err = d.CreateReadWrite("limited", "", &graphdriver.CreateOpts{StorageOpt: map[string]string{"size": "50M"}})
	if err == nil || !strings.Contains(err.Error(), "not supported yet") {
		t.Errorf("size=50M: %v", err)
	}
	if d.Exists("limited") {
		t.Error("a refused layer exists")
	}
}
