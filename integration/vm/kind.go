package vm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Kind is what runs a guest.
type Kind string

// KindKVM is a stock kernel under KVM, KindUML a User-Mode Linux kernel with the
// same root disk, and KindQEMU a stock kernel that QEMU emulates. KindAuto is the
// first of them that works here.
const (
	KindAuto Kind = "auto"
	KindKVM  Kind = "kvm"
	KindUML  Kind = "uml"
	KindQEMU Kind = "qemu"
)

// Kinds are the values of a Kind.
var Kinds = []Kind{KindAuto, KindKVM, KindUML, KindQEMU}

// MachineVariable chooses the kind where nothing else does.
const MachineVariable = "OZLAB_MACHINE"

// ParseKind reads a kind. The empty text is what [MachineVariable] says, or
// KindAuto.
func ParseKind(text string) (Kind, error) {
	text = cmp.Or(text, os.Getenv(MachineVariable), string(KindAuto))
	if kind := Kind(text); slices.Contains(Kinds, kind) {
		return kind, nil
	}
	return "", fmt.Errorf("no machine %q: want auto, kvm, uml or qemu", text)
}

// defaultCPUs is how many processors a machine has. A second one makes User-Mode
// Linux slow: a system call takes six times as long.
func (k Kind) defaultCPUs() int {
	if k == KindUML {
		return 1
	}
	return 2
}

// Choice is what a machine runs on, and why not on something better.
type Choice struct {
	Kind  Kind
	Why   string
	accel Accel // of QEMU
	// kernel is the name of a User-Mode Linux kernel other than the usual one.
	kernel string
}

// String is the choice as one line.
func (c Choice) String() string {
	names := map[Kind]string{KindKVM: "KVM", KindUML: "User-Mode Linux", KindQEMU: "QEMU, emulated"}
	line := "machine: " + names[c.Kind]
	if c.kernel != "" {
		line += ", kernel " + c.kernel
	}
	if c.Why != "" {
		line += " (" + c.Why + ")"
	}
	return line
}

// answer is what a probe found: on what host and of what kernel, and why the
// kind of machine does not work there, or nothing where it does.
type answer struct {
	Of  string `json:"of"`
	Not string `json:"not"`
}

// Choose finds out which kind of machine to boot: the wanted one, or with
// KindAuto the best that works. The probes boot a kernel, for a host can have
// /dev/kvm and not run a guest, or forbid what User-Mode Linux needs. Their
// answers are kept until the host, its kernel or the programs change.
func (g *Guest) Choose(ctx context.Context, want Kind) (Choice, error) {
	want, err := ParseKind(string(want))
	if err != nil {
		return Choice{}, err
	}
	emulated := Choice{Kind: KindQEMU, accel: TCG}
	if installedQEMU(ctx).before(soundQEMU) {
		emulated.accel = TCGSingle
	}
	probes := []struct {
		choice Choice
		probe  func(context.Context) string
	}{
		{Choice{Kind: KindKVM, accel: KVM}, g.probeKVM},
		{Choice{Kind: KindUML, kernel: g.uml.kernel}, g.probeUML},
		{emulated, func(context.Context) string { return "" }},
	}
	var refusals []string
	for _, p := range probes {
		if want != KindAuto && want != p.choice.Kind {
			continue
		}
		refusal := g.refusal(ctx, p.choice.Kind, p.probe)
		if refusal == "" {
			p.choice.Why = strings.Join(refusals, "; ")
			return p.choice, ctx.Err()
		}
		refusals = append(refusals, refusal)
	}
	return Choice{}, fmt.Errorf("no machine of kind %s here: %s", want, strings.Join(refusals, "; "))
}

// refusal is why a kind does not work here, or nothing: as a probe found out
// before, or finds out now.
func (g *Guest) refusal(ctx context.Context, kind Kind, probe func(context.Context) string) string {
	if kept, known := g.findAnswer(ctx, kind); known {
		return kept
	}
	refusal := probe(ctx)
	if ctx.Err() == nil {
		answers := g.readAnswers()
		answers[g.probeName(kind)] = answer{Of: g.identity(ctx, kind), Not: refusal}
		// Only a cache: another user's is read-only, and asked again each time.
		if data, err := json.Marshal(answers); err == nil {
			_ = os.WriteFile(g.answersFile(), data, 0o644)
		}
	}
	return refusal
}

func (g *Guest) answersFile() string { return filepath.Join(g.cache, "machines.json") }

// probeName names a probe's answer.
func (g *Guest) probeName(kind Kind) string {
	if kind == KindUML && g.uml.kernel != "" {
		return string(kind) + "-" + g.uml.kernel
	}
	return string(kind)
}

func (g *Guest) readAnswers() map[string]answer {
	answers := map[string]answer{}
	if data, err := os.ReadFile(g.answersFile()); err != nil || json.Unmarshal(data, &answers) != nil {
		return map[string]answer{}
	}
	return answers
}

// findAnswer returns the stored answer of a probe, if this host has not changed since.
func (g *Guest) findAnswer(ctx context.Context, kind Kind) (refusal string, known bool) {
	kept, known := g.readAnswers()[g.probeName(kind)]
	return kept.Not, known && kept.Of == g.identity(ctx, kind)
}

// identity names what a probe's answer depends on.
func (g *Guest) identity(ctx context.Context, kind Kind) string {
	host := hostIdentity(ctx)
	if kind == KindUML {
		host += " / " + g.uml.identity()
	}
	return host
}

// identity changes with the kernel, and with where its memory would be.
func (l umlLab) identity() string {
	info, err := os.Stat(l.built().kernel)
	if err != nil {
		return "no User-Mode Linux"
	}
	shm := unfitForMemory("/dev/shm", umlProbeMemory)
	return strings.TrimSpace(fmt.Sprint("User-Mode Linux of ", info.ModTime().UnixNano(), " ", shm))
}

const (
	umlProbeMemory = 128 << 20
	umlProbeLimit  = 20 * time.Second
)

// probeUML boots the kernel with a root of two files.
func (g *Guest) probeUML(ctx context.Context) (refusal string) {
	if !g.uml.isBuilt() {
		return "no User-Mode Linux kernel is built"
	}
	memory, _, err := memoryDir(umlProbeMemory)
	if err != nil {
		return err.Error()
	}
	dir, err := os.MkdirTemp("", "ozlab-probe-")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, umlProbeLimit)
	defer cancel()
	kernel := g.uml.built()
	cmd := exec.CommandContext(ctx, kernel.kernel, "mem=128M", "seccomp=auto", "initrd="+kernel.probe,
		"uml_dir=.", "umid=probe", "con=null", "con0=null,fd:1", "ssl=null", "noreboot", "panic=-1", "loglevel=4")
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, append(os.Environ(), "TMPDIR="+memory), time.Second
	output, err := cmd.CombinedOutput()
	if bytes.Contains(output, []byte(probeMarker)) {
		return ""
	}
	last := lastLines(output, 1)
	return strings.TrimSpace(fmt.Sprintf("User-Mode Linux does not boot: %v: %s", err, strings.Map(printable, last)))
}
