package vm

import (
	"slices"
	"strings"
	"testing"
)

func TestQEMUArgs(t *testing.T) {
	base := hardware{
		accel: TCG, memory: "1G", cpus: 2, kernel: "k", initramfs: "i", cmdline: []string{"lab.nonce=N"},
		console: "c", root: "r", pool: "p", poolDirect: true, job: "j",
	}
	tests := map[string]struct {
		change func(*hardware)
		want   []string // consecutive words, joined by a space
		absent []string
	}{
		"as usual": {
			want: []string{
				"-accel tcg,thread=multi", "-m 1G -smp 2", "-kernel k -initrd i", "mitigations=off lab.nonce=N", "-serial file:c",
				"format=raw,file=r,snapshot=on,file.locking=off", "file=p,cache=none,aio=threads", "file=j,readonly=on",
				"socket,id=port0,fd=3 -device virtserialport,chardev=port0,nr=1", "fd=6 -device virtserialport,chardev=port3,nr=4",
			},
			absent: []string{"stdio", "kvm"},
		},
		"KVM":                    {change: func(h *hardware) { h.accel = KVM }, want: []string{"-accel kvm -cpu host"}, absent: []string{"tcg"}},
		"an old QEMU":            {change: func(h *hardware) { h.accel = TCGSingle }, want: []string{"-accel tcg,thread=single -cpu max"}},
		"no O_DIRECT":            {change: func(h *hardware) { h.poolDirect = false }, want: []string{"file=p,cache=writeback"}, absent: []string{"cache=none"}},
		"a comma in a file name": {change: func(h *hardware) { h.pool = "a,b" }, want: []string{"file=a,,b,cache"}},
		"a terminal":             {change: func(h *hardware) { h.terminal = true }, want: []string{"virtconsole,chardev=terminal"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := base
			if test.change != nil {
				test.change(&h)
			}
			args := strings.Join(qemuArgs(h), " ")
			for _, want := range test.want {
				if !strings.Contains(args, want) {
					t.Errorf("no %q in %s", want, args)
				}
			}
			for _, absent := range test.absent {
				if strings.Contains(args, absent) {
					t.Errorf("%q in %s", absent, args)
				}
			}
		})
	}
}

func TestDisksKeepTheirNames(t *testing.T) {
	var drives []string
	args := qemuArgs(hardware{root: "r", pool: "p", job: "j"})
	for _, arg := range args {
		if name, found := strings.CutPrefix(arg, "virtio-blk-pci,drive="); found {
			drives = append(drives, name)
		}
	}
	if want := []string{"root", "pool", "job", "modules"}; !slices.Equal(drives, want) {
		t.Errorf("the disks are %v, want %v: vda to vdd of the guest's scripts", drives, want)
	}
}
