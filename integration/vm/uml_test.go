package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUMLArgs(t *testing.T) {
	base := hardware{memory: "2G", cpus: 1, cmdline: []string{"lab.nonce=N"}, kernel: "k", root: "/r", pool: "/p", job: "/d/job.tar"}
	args := " " + strings.Join(umlArgs(base), " ") + " "
	for _, want := range []string{
		" mem=2G ", " ncpus=1 ", " ubd0=cow,root.img ", " ubd1=pool ", " ubd2r=job.tar ", " ubd3rc=modules.img ", " initrd=initramfs ", " con0=null,fd:8 ",
		" ssl1=fd:3 ", " ssl5=fd:7 ", " noreboot ", " lab.nonce=N ",
	} {
		if !strings.Contains(args, want) {
			t.Errorf("no %q in %s", want, args)
		}
	}
	if strings.Contains(args, "con1=") {
		t.Errorf("a terminal that nobody asked for: %s", args)
	}
	base.terminal = true
	if args := strings.Join(umlArgs(base), " "); !strings.Contains(args, "con1=fd:0,fd:1") {
		t.Errorf("no terminal in %s", args)
	}
}

func TestUMLLinksTakeAnyPath(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "a, b: c")
	if err := os.Mkdir(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	pool := filepath.Join(elsewhere, "pool")
	write(t, pool, "the pool")
	if err := umlLinks(dir, hardware{initramfs: "/i", root: "/r", pool: pool, modules: "/m"}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, umlPool)); err != nil || string(data) != "the pool" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{"512M": 512 << 20, "6G": 6 << 30, "1024K": 1 << 20} {
		if got, err := parseMemory(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "6", "-1G", "0M", "6GG", "6g", "99999999999999999999G"} {
		if got, err := parseMemory(text); err == nil {
			t.Errorf("%q was taken for %d bytes", text, got)
		}
	}
}

func TestMemoryDirNamesWhatIsTooSmall(t *testing.T) {
	reason := unfitForMemory(t.TempDir(), 1<<62)
	if !strings.Contains(reason, "MiB free of the 4398046511104 MiB needed") {
		t.Errorf("got %q", reason)
	}
	if reason := unfitForMemory("/missing", 1); !strings.Contains(reason, "/missing") {
		t.Errorf("got %q", reason)
	}
	if reason := unfitForMemory(t.TempDir(), 1); reason != "" {
		t.Errorf("a fit directory: %q", reason)
	}
}

func TestUMLSpecIsRead(t *testing.T) {
	spec, err := loadUMLSpec()
	if err != nil {
		t.Fatal(err)
	}
	if spec.Known == "" || spec.Linux == "" || spec.DKMS == "" || len(spec.Sources.Suites) != 1 {
		t.Errorf("incomplete: %+v", spec)
	}
	before := umlSteps(spec, "").key()
	spec.DKMS = "zfs-dkms-other"
	if umlSteps(spec, "").key() == before {
		t.Error("another package is no other result")
	}
}

func TestParseKind(t *testing.T) {
	t.Setenv(MachineVariable, "")
	for text, want := range map[string]Kind{"": KindAuto, "uml": KindUML, "kvm": KindKVM, "qemu": KindQEMU} {
		if got, err := ParseKind(text); err != nil || got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	if _, err := ParseKind("xen"); err == nil {
		t.Error("a machine that there is not was taken")
	}
	t.Setenv(MachineVariable, "qemu")
	if got, err := ParseKind(""); err != nil || got != KindQEMU {
		t.Errorf("the environment's: %s, %v", got, err)
	}
}

// A kernel with a name is another directory of the cache than the usual one.
func TestNamedKernel(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv(KernelVariable, "")
	usual, err := Open(DefaultSuite)
	if err != nil {
		t.Fatal(err)
	}
	if len(KernelNames()) == 0 {
		t.Fatal("no kernels")
	}
	for _, name := range KernelNames() {
		t.Setenv(KernelVariable, name)
		lab, err := Open(DefaultSuite)
		if err != nil {
			t.Fatal(err)
		}
		if lab.uml.built().kernel == usual.uml.built().kernel {
			t.Errorf("%s lies where the usual kernel does", name)
		}
		if _, err := namedStep(umlCache, umlKernelStep(name)); err != nil {
			t.Error(err)
		}
		if umlConfig(name) == umlConfig("") {
			t.Errorf("%s is configured like the usual kernel", name)
		}
		for kind, want := range map[Kind]Kind{KindAuto: KindUML, KindUML: KindUML, KindKVM: "", KindQEMU: ""} {
			if got, err := lab.uml.restrict(kind); got != want || (err == nil) != (want != "") {
				t.Errorf("%s of kind %s: %q, %v; want %q", name, kind, got, err, want)
			}
		}
	}
	t.Setenv(KernelVariable, "../config")
	if _, err := Open(DefaultSuite); err == nil || !strings.Contains(err.Error(), "there are: ") {
		t.Errorf("a kernel that there is not: %v", err)
	}
}
