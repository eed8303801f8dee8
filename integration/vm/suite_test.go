package vm

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// backports is a suite as another release would bring it: OpenZFS from
// backports, and dockerd with other flags.
const backports = `{
	"about": "made up",
	"sources": {
		"suites": ["bookworm", "bookworm-backports"],
		"components": ["main", "contrib"],
		"pins": [{"packages": "src:zfs-linux", "suite": "bookworm-backports"}]
	},
	"kernel": {"image": "linux-image-cloud-amd64", "headers": "linux-headers-cloud-amd64"},
	"build": {"variant": "apt", "packages": ["gcc", "make"], "dkms": "zfs-dkms"},
	"guest": {"variant": "minbase", "packages": ["docker.io", "zfsutils-linux"]},
	"base": {"variant": "minbase", "debs": ["hello"]},
	"dockerd": ["--bridge=none"]
}`

func TestShippedSuites(t *testing.T) {
	if !slices.Contains(SuiteNames(), DefaultSuite) {
		t.Errorf("no data file for the default suite %s", DefaultSuite)
	}
	for _, name := range SuiteNames() {
		suite, err := LoadSuite(name)
		if err != nil {
			t.Error(err)
		} else if tiers := suite.Tiers; len(tiers.Fast)+len(tiers.Slow)+len(tiers.Long) == 0 {
			t.Errorf("nothing is tested on %s", name)
		}
	}
	if _, err := LoadSuite("potato"); err == nil || !strings.Contains(err.Error(), DefaultSuite) {
		t.Errorf("an unknown suite: %v, want an error that lists the known ones", err)
	}
}

func TestAnotherSuiteNeedsOnlyData(t *testing.T) {
	other, err := ParseSuite("bookworm", []byte(backports))
	if err != nil {
		t.Fatal(err)
	}
	list := other.Sources.sourceList([]Mirror{{URI: "http://mirror.invalid/debian"}})
	want := "deb http://mirror.invalid/debian bookworm main contrib\ndeb http://mirror.invalid/debian bookworm-backports main contrib\n"
	if list != want {
		t.Errorf("source list:\n%s\nwant:\n%s", list, want)
	}
	if got := other.preferences(); !strings.Contains(got, "Package: src:zfs-linux\nPin: release n=bookworm-backports\n") {
		t.Errorf("preferences:\n%s", got)
	}
	first, err := LoadSuite(DefaultSuite)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := newRecipe(first), newRecipe(other)
	for i, step := range slices.Concat(mine.image.needs, mine.kernel.needs) {
		if step.key() == slices.Concat(theirs.image.needs, theirs.kernel.needs)[i].key() {
			t.Errorf("step %s: both suites have the key %s", step.name, step.key())
		}
	}
}

// TestPackagesAreNoPartOfTheDisk: a change of their list builds nothing else again.
func TestPackagesAreNoPartOfTheDisk(t *testing.T) {
	parse := func(text string) recipe {
		suite, err := ParseSuite("bookworm", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return newRecipe(suite)
	}
	without := parse(backports)
	with := parse(strings.Replace(backports, `"dockerd"`, `"packages": ["sanoid"], "dockerd"`, 1))
	if with.image.key() != without.image.key() || with.kernel.key() != without.kernel.key() {
		t.Error("packages for jobs change the root disk or the kernel")
	}
	if with.packages.key() == without.packages.key() {
		t.Error("the list of packages changes nothing")
	}
	none := Lab{Suite: &Suite{Name: "bare"}, Cache: t.TempDir()}
	if _, err := none.Packages(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "bare") {
		t.Errorf("a suite without packages: %v", err)
	}
}

func TestParseSuiteRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"a spelling mistake": strings.Replace(backports, `"dockerd"`, `"dockred"`, 1),
		"no kernel":          strings.Replace(backports, `"linux-image-cloud-amd64"`, `""`, 1),
		"no data":            "",
	} {
		if _, err := ParseSuite("x", []byte(data)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
