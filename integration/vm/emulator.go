package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// soundQEMU is the first release that emulates several processors at once
// soundly. Before it, code that one processor changed while another translated
// it could stay in use as it was (fixed by QEMU's "accel/tcg: Always lock pages
// before translation"), and the guest's kernel, which patches its own code when
// the first container starts, met the breakpoint it had long taken away:
// "Oops: int3", in about one long run of ten.
var soundQEMU = qemuVersion{8, 1}

type qemuVersion struct{ major, minor int }

func (v qemuVersion) before(o qemuVersion) bool {
	return v.major < o.major || v.major == o.major && v.minor < o.minor
}

var qemuVersionLine = regexp.MustCompile(`^QEMU emulator version (\d+)\.(\d+)`)

// parseQEMUVersion reads the first line of --version; what cannot be read is
// the oldest.
func parseQEMUVersion(line string) (v qemuVersion) {
	if m := qemuVersionLine.FindStringSubmatch(line); m != nil {
		v.major, _ = strconv.Atoi(m[1])
		v.minor, _ = strconv.Atoi(m[2])
	}
	return v
}

func installedQEMU(ctx context.Context) qemuVersion {
	line, _ := exec.CommandContext(ctx, qemuProgram, "--version").Output()
	return parseQEMUVersion(string(line))
}

// ensureSoundQEMU replaces an old QEMU by the one that Debian ports back to the
// host's release. Where there is none the old one does, emulating one
// processor at a time (see TCGSingle): slower, and as sound. It is looked for
// once in a boot of the host.
func ensureSoundQEMU(ctx context.Context, cache string, progress *progress) {
	if !installedQEMU(ctx).before(soundQEMU) || lookPath("apt-get") != nil {
		return
	}
	tried, now := filepath.Join(cache, "qemu-tried"), []byte(hostIdentity(ctx))
	if last, err := os.ReadFile(tried); err == nil && bytes.Equal(last, now) {
		return
	}
	_ = os.WriteFile(tried, now, 0o644) // another user's cache: tried again
	progress.note("QEMU before %d.%d cannot run two processors soundly: looking for a newer one", soundQEMU.major, soundQEMU.minor)
	if err := installBackport(ctx, progress, "qemu-system-x86"); err != nil {
		progress.note("none found (%v): the guest's processors take turns, which is slower", err)
	}
}

// installBackport installs a package from the backports of the host's release,
// which need not be among the host's sources.
func installBackport(ctx context.Context, progress *progress, pkg string) error {
	codename := hostCodename()
	mirrors, err := HostMirrors()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ozlab-apt-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	list := filepath.Join(dir, "backports.list")
	sources := Sources{Suites: []string{codename, codename + "-backports"}, Components: []string{"main"}}
	if err := os.WriteFile(list, []byte(sources.sourceList(mirrors)), 0o644); err != nil {
		return err
	}
	apt := []string{
		"apt-get", "-y",
		"-o", "Dir::Etc::sourcelist=" + list, "-o", "Dir::Etc::sourceparts=-",
		"-o", "APT::Get::List-Cleanup=0", // the host's own lists stay
		"-o", "Acquire::Check-Valid-Until=false",
	}
	if err := asRoot(ctx, progress.out, append(apt, "update")...); err != nil {
		return err
	}
	install := []string{"install", "--no-install-recommends", "-t", codename + "-backports", pkg}
	if err := asRoot(ctx, progress.out, append(apt, install...)...); err != nil {
		return fmt.Errorf("install %s from %s-backports: %w", pkg, codename, err)
	}
	return nil
}
