package vm

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed suites/*.json
var suiteFiles embed.FS

// DefaultSuite is the suite of a command that names none.
const DefaultSuite = "trixie"

// Suite describes a guest: everything that differs between Debian releases.
type Suite struct {
	Name    string  `json:"-"` // of the file
	About   string  `json:"about"`
	Sources Sources `json:"sources"`
	Kernel  Kernel  `json:"kernel"`
	Build   struct {
		Root
		// DKMS is the package with the module's source.
		DKMS string `json:"dkms"`
	} `json:"build"`
	Guest Root `json:"guest"`
	Base  struct {
		Root
		// Debs are packages that a job finds as files, for installing offline.
		Debs []string `json:"debs"`
	} `json:"base"`
	// Packages are packages that only some tests need. [Lab.Packages] fetches them as files, and a
	// test hands them to its job.
	Packages []string `json:"packages"`
	// Dockerd are the flags dockerd needs in this guest; a job finds them in
	// /lab/dockerd-flags, one a line.
	Dockerd []string `json:"dockerd"`
	// Tiers are the tests that are run in this guest, by the names that
	// scripts/test knows. To the lab they mean nothing.
	Tiers Tiers `json:"tiers"`
}

// Tiers are lists of tests, the longest first.
type Tiers struct {
	// Fast are those that every change has to pass where machines run at the
	// hardware's speed.
	Fast []string `json:"fast"`
	// Stock are those that run on the stock kernel besides, emulated, where the
	// fast machine is User-Mode Linux: they would notice a difference of kernels.
	Stock []string `json:"stock"`
	// Slow are those that every change has to pass where QEMU's emulation is all
	// there is.
	Slow []string `json:"slow"`
	// Long are the further ones of a run of everything.
	Long []string `json:"long"`
}

// Sources are the parts of a Debian mirror that a suite uses. Where the mirror
// is, the host's own configuration says.
type Sources struct {
	// Suites are names below dists/; the first is the release itself.
	Suites     []string `json:"suites"`
	Components []string `json:"components"`
	// Pins prefer some packages from one of the suites, such as OpenZFS from
	// backports.
	Pins []Pin `json:"pins"`
}

// Pin makes APT take packages from one suite. Packages is in the syntax of
// apt_preferences, so that "src:zfs-linux" names all of one source package.
type Pin struct {
	Packages string `json:"packages"`
	Suite    string `json:"suite"`
}

// Kernel names the packages of the guest's kernel.
type Kernel struct {
	Image   string `json:"image"`
	Headers string `json:"headers"`
}

// Root is a file system made by mmdebstrap.
type Root struct {
	Variant  string   `json:"variant"`
	Packages []string `json:"packages"`
}

// LoadSuite returns the suite that the project ships under name.
func LoadSuite(name string) (*Suite, error) {
	data, err := suiteFiles.ReadFile(path.Join("suites", name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no suite %q; there are: %s", name, strings.Join(SuiteNames(), ", "))
	}
	if err != nil {
		return nil, err
	}
	return ParseSuite(name, data)
}

// SuiteNames lists the suites that the project ships.
func SuiteNames() []string {
	files, _ := fs.Glob(suiteFiles, "suites/*.json")
	for i, file := range files {
		files[i] = strings.TrimSuffix(path.Base(file), ".json")
	}
	return files
}

// ParseSuite reads a suite's data file. A field it does not know is an error:
// it is a spelling mistake.
func ParseSuite(name string, data []byte) (*Suite, error) {
	suite := &Suite{Name: name}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(suite); err != nil {
		return nil, fmt.Errorf("suite %s: %w", name, err)
	}
	if err := suite.check(); err != nil {
		return nil, fmt.Errorf("suite %s: %w", name, err)
	}
	return suite, nil
}

func (s *Suite) check() error {
	required := []struct{ field, value string }{
		{"sources.suites", strings.Join(s.Sources.Suites, "")},
		{"sources.components", strings.Join(s.Sources.Components, "")},
		{"kernel.image", s.Kernel.Image},
		{"kernel.headers", s.Kernel.Headers},
		{"build.variant", s.Build.Variant},
		{"build.dkms", s.Build.DKMS},
		{"guest.variant", s.Guest.Variant},
		{"base.variant", s.Base.Variant},
	}
	for _, r := range required {
		if r.value == "" {
			return fmt.Errorf("%s is empty", r.field)
		}
	}
	return nil
}

// preferences is the suite's pins as an APT preferences file.
func (s *Suite) preferences() string {
	var b strings.Builder
	for _, pin := range s.Sources.Pins {
		fmt.Fprintf(&b, "Package: %s\nPin: release n=%s\nPin-Priority: 990\n\n", pin.Packages, pin.Suite)
	}
	return b.String()
}
