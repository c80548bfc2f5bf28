# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of what surrounds growth: locking, fork, advice, limits, SysV, swap, userfaultfd, cpusets, huge pages.

They were written without a look at the cases. Those that ran before cases were extended for them passed all of these.
"""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

MADVISE = "mm/madvise.c"
MEMPOLICY = "mm/mempolicy.c"
MLOCK = "mm/mlock.c"
MREMAP = "mm/mremap.c"
SHM = "ipc/shm.c"
SHMEM = "mm/shmem.c"


def _edit(file: str, old: str, new: str) -> Edit:
    return Edit(file=file, old=old, new=new)


SURROUNDINGS = (
    Mutant(
        name="not-inherited-is-counted",
        breaks="what a child does not inherit counts to its VmSize",
        edits=(_edit("kernel/fork.c", "\t\t\tvm_stat_account(mm, mpnt->vm_flags, -vma_pages(mpnt));\n", ""),),
        kills=("views.m07_not_inherited",),
    ),
    Mutant(
        name="dontunmap-grows",
        breaks="MREMAP_DONTUNMAP takes another length",
        edits=(
            _edit(
                MREMAP,
                "(!(flags & MREMAP_MAYMOVE) || old_len != new_len))",
                "(!(flags & MREMAP_MAYMOVE) || old_len > new_len))",
            ),
        ),
        kills=("limits.c19_bad_target",),
    ),
    Mutant(
        name="shm-lock-limit",
        breaks="SHM_LOCK does not know RLIMIT_MEMLOCK",
        edits=(
            _edit(
                MLOCK,
                ("\tif ((memlock == LONG_MAX || memlock > lock_limit) && !capable(CAP_IPC_LOCK)) {\n\t\tdec"),
                "\tif (memlock == LONG_MAX && !capable(CAP_IPC_LOCK)) {\n\t\tdec",
            ),
        ),
        kills=("guards.i03_sysv",),
    ),
    Mutant(
        name="shmdt-leaves-pieces",
        breaks="shmdt leaves the pieces behind the first",
        edits=(_edit(SHM, "\tsize = PAGE_ALIGN(size);\n\twhile (vma", "\tsize = 0;\n\twhile (vma"),),
        kills=("guards.i03_sysv",),
    ),
    Mutant(
        name="swap-whole",
        breaks="Swap of a view counts what the whole object has in swap",
        edits=(
            _edit(
                SHMEM,
                "\tif (!vma->vm_pgoff && vma->vm_end - vma->vm_start >= inode->i_size)",
                "\tif (vma->vm_end > vma->vm_start)",
            ),
        ),
        kills=("thp.d10_swapped_out_and_in",),
    ),
    Mutant(
        name="two-views-pay-in-full",
        breaks="Pss of shared memory is not divided by two",
        edits=(
            _edit(
                "fs/proc/task_mmu.c",
                "\t\tif (mapcount >= 2)\n\t\t\tpss /= mapcount;",
                "\t\tif (mapcount > 2)\n\t\t\tpss /= mapcount;",
            ),
        ),
        kills=("interfaces.g14_smaps",),
    ),
    Mutant(
        name="mlock-beyond",
        breaks="mlock of memory beyond the end of a file succeeds",
        edits=(
            _edit(
                MLOCK, "\tif (retval == -EFAULT)\n\t\tretval = -ENOMEM;", "\tif (retval == -EFAULT)\n\t\tretval = 0;"
            ),
        ),
        kills=("guards.i01_memfd",),
    ),
    Mutant(
        name="mlock-hole",
        breaks="mlock of a range that ends in a hole succeeds",
        edits=(_edit(MLOCK, "\tif (tmp < end)\n\t\treturn -ENOMEM;\n", ""),),
        kills=("limits.c07_counted_as_locked",),
    ),
    Mutant(
        name="mcl-onfault",
        breaks="MCL_ONFAULT is forgotten for future mappings",
        edits=(_edit(MLOCK, "\t\tif (flags & MCL_ONFAULT)\n\t\t\tcurrent->mm->def_flags |= VM_LOCKONFAULT;\n", ""),),
        kills=("interfaces.g10_mlock_on_fault",),
    ),
    Mutant(
        name="locked-again-is-counted-again",
        breaks="locking what is locked, in another mode, counts again",
        edits=(_edit(MLOCK, "\telse if (oldflags & VM_LOCKED)\n\t\tnr_pages = 0;\n", ""),),
        kills=("limits.c07_counted_as_locked",),
    ),
    Mutant(
        name="locked-again-over-the-limit",
        breaks="locking what is locked fails at the limit",
        edits=(_edit(MLOCK, "\tif ((locked > lock_limit) && (!capable(CAP_IPC_LOCK))) {\n", "\tif (0) {\n"),),
        kills=("limits.c07_rlimit_memlock",),
    ),
    Mutant(
        name="mincore-swapped",
        breaks="mincore says that swapped-out shared memory is resident",
        edits=(
            _edit(
                "mm/mincore.c",
                "\t\tpresent = folio_test_uptodate(folio);\n\t\tfolio_put(folio);\n\t}\n",
                (
                    "\t\tpresent = folio_test_uptodate(folio);\n"
                    "\t\tfolio_put(folio);\n"
                    "\t} else if (xa_is_value(xa_load(&mapping->i_pages, index))) {\n"
                    "\t\tpresent = 1;\n"
                    "\t}\n"
                ),
            ),
        ),
        kills=("thp.d10_swapped_out_and_in",),
    ),
    Mutant(
        name="move-pages-node",
        breaks="move_pages takes the first node for all pages of a call",
        edits=(
            _edit(
                "mm/migrate.c",
                "\t\t} else if (node != current_node) {\n\t\t\terr = move",
                "\t\t} else if (0) {\n\t\t\terr = move",
            ),
        ),
        kills=("numa_policy.e10_move_pages",),
    ),
    Mutant(
        name="migrate-pair",
        breaks="migrate_pages moves all to the first node",
        edits=(_edit(MEMPOLICY, "\t\t\td = node_remap(s, *from, *to);", "\t\t\td = first_node(*to);"),),
        kills=("numa_policy.e11_migrate_pages",),
    ),
    Mutant(
        name="default-nodes",
        breaks="MPOL_DEFAULT takes nodes",
        edits=(
            _edit(
                MEMPOLICY,
                ("\t\tif (nodes && !nodes_empty(*nodes))\n\t\t\treturn ERR_PTR(-EINVAL);\n\t\treturn NULL;"),
                "\t\treturn NULL;",
            ),
        ),
        kills=("numa_policy.e02_new_part_has_no_policy",),
    ),
    Mutant(
        name="policies-merge",
        breaks="neighbours with other nodes merge",
        edits=(
            _edit(
                MEMPOLICY,
                "\t\treturn !!nodes_equal(a->nodes, b->nodes);\n\tcase MPOL_LOCAL:\n\t\treturn true;",
                ("\t\treturn nodes_weight(a->nodes) == nodes_weight(b->nodes);\n\tcase MPOL_LOCAL:\n\t\treturn true;"),
            ),
        ),
        kills=("numa_policy.e03_other_mappings",),
    ),
    Mutant(
        name="rebind-range",
        breaks="policies of ranges do not follow the cpuset",
        edits=(
            _edit(
                MEMPOLICY,
                "\t\tmpol_rebind_policy(vma->vm_policy, new);",
                "\t\tif (!vma->vm_policy)\n\t\t\tmpol_rebind_policy(vma->vm_policy, new);",
            ),
        ),
        kills=("numa_policy.e12_cpuset",),
    ),
    Mutant(
        name="pages-stay-in-lost-node",
        breaks="pages stay where they are when cpuset.mems changes",
        edits=(
            _edit(
                "kernel/cgroup/cpuset.c",
                "\t\tif (migrate)\n\t\t\tcpuset_migrate_mm(",
                "\t\tif (0)\n\t\t\tcpuset_migrate_mm(",
            ),
        ),
        kills=("numa_policy.e12_cpuset",),
    ),
    Mutant(
        name="mems-allowed",
        breaks="MPOL_F_MEMS_ALLOWED answers all nodes",
        edits=(_edit(MEMPOLICY, "\t\t*nmask  = cpuset_current_mems_allowed;", "\t\t*nmask  = node_states[N_MEMORY];"),),
        kills=("numa_policy.e12_cpuset",),
    ),
    Mutant(
        name="hugetlb-beyond",
        breaks="a huge page beyond the end can be used",
        edits=(
            _edit(
                "mm/hugetlb.c",
                ("\t\tif (vmf->pgoff >= size)\n\t\t\tgoto out;\n\t\t/* Check for page in userfault range */"),
                ("\t\tif (vmf->pgoff > size)\n\t\t\tgoto out;\n\t\t/* Check for page in userfault range */"),
            ),
        ),
        kills=("guards.i07_hugetlb_shared",),
    ),
    Mutant(
        name="thp-zero",
        breaks="truncation inside a huge page leaves what was behind",
        edits=(
            _edit(
                "mm/truncate.c",
                "\tif (!mapping_inaccessible(folio->mapping))\n\t\tfolio_zero_range",
                ("\tif (!mapping_inaccessible(folio->mapping) && !folio_test_large(folio))\n\t\tfolio_zero_range"),
            ),
        ),
        kills=("thp.d16_end_inside_a_page",),
    ),
    Mutant(
        name="wipe-shared",
        breaks="MADV_WIPEONFORK takes shared memory",
        edits=(_edit(MADVISE, "\t\tif (vma->vm_file || vma->vm_flags & VM_SHARED)\n\t\t\treturn -EINVAL;\n", ""),),
        kills=("interfaces.g12_sync_and_advise",),
    ),
    Mutant(
        name="free-shared",
        breaks="MADV_FREE takes shared memory",
        edits=(
            _edit(
                MADVISE,
                "\tif (!vma_is_anonymous(vma))\n\t\treturn -EINVAL;\n\n\trange.start",
                "\tif (!vma_is_anonymous(vma))\n\t\treturn 0;\n\n\trange.start",
            ),
        ),
        kills=("interfaces.g12_sync_and_advise",),
    ),
    Mutant(
        name="dontneed-locked",
        breaks="MADV_DONTNEED takes locked memory",
        edits=(_edit(MADVISE, "\t\tif (behavior != MADV_DONTNEED_LOCKED)\n\t\t\tforbidden |= VM_LOCKED;\n", ""),),
        kills=("interfaces.g12_sync_and_advise",),
    ),
    Mutant(
        name="remove-locked",
        breaks="MADV_REMOVE takes locked memory",
        edits=(
            _edit(
                MADVISE,
                "\tif (vma->vm_flags & VM_LOCKED)\n\t\treturn -EINVAL;\n\n\tf = vma->vm_file;",
                "\tf = vma->vm_file;",
            ),
        ),
        kills=("interfaces.g12_sync_and_advise",),
    ),
    Mutant(
        name="future-write",
        breaks="a sealed view can be made writable",
        edits=(_edit("mm/memfd.c", "\t*vm_flags_ptr &= ~VM_MAYWRITE;\n", ""),),
        kills=("files.n06_seals",),
    ),
    Mutant(
        name="falloc-undo",
        breaks="an allocation that fails leaves its pages",
        edits=(
            _edit(
                SHMEM,
                "\t\t\tif (index > start) {\n\t\t\t\tshmem_undo",
                "\t\t\tif (index < start) {\n\t\t\t\tshmem_undo",
            ),
        ),
        kills=("refused.l04_watched_size",),
    ),
    Mutant(
        name="commit-limit",
        breaks="strict overcommit lets a quarter more in",
        edits=(
            _edit(
                "mm/util.c",
                "\tif (percpu_counter_read_positive(&vm_committed_as) < allowed)",
                "\tif (percpu_counter_read_positive(&vm_committed_as) < allowed + allowed / 4)",
            ),
        ),
        kills=("refused.l10_fits_into_the_commit_limit",),
    ),
    Mutant(
        name="move-raises-peak",
        breaks="a move raises VmPeak",
        edits=(_edit(MREMAP, "\tmm->hiwater_vm = hiwater_vm;\n", ""),),
        kills=("limits.c05_counted_as_address_space",),
    ),
    Mutant(
        name="home-interleave",
        breaks="a home node is taken with interleaving",
        edits=(
            _edit(
                MEMPOLICY,
                "\t\tif (old->mode != MPOL_BIND && old->mode != MPOL_PREFERRED_MANY) {",
                "\t\tif (old->mode != MPOL_BIND && old->mode != MPOL_PREFERRED_MANY && old->mode != MPOL_INTERLEAVE) {",
            ),
        ),
        kills=("numa_table.p02_shared__range_home_node",),
    ),
    Mutant(
        name="fsize-memfd",
        breaks="RLIMIT_FSIZE does not hold for truncation of memory files",
        edits=(
            _edit(
                "fs/attr.c",
                "\t\tif (limit != RLIM_INFINITY && offset > limit)",
                "\t\tif (limit != RLIM_INFINITY && offset > limit && inode->i_sb->s_magic != 0x01021994)",
            ),
        ),
        kills=("limits.c04_rlimit_fsize",),
    ),
    Mutant(
        name="data-private",
        breaks="RLIMIT_DATA does not hold for private growth",
        edits=(
            _edit(
                MREMAP,
                "\tif (!may_expand_vm(mm, vma->vm_flags,\n",
                "\tif (!may_expand_vm(mm, vma->vm_flags & ~VM_WRITE,\n",
            ),
        ),
        kills=("guards.i07_private_anonymous",),
    ),
    Mutant(
        name="hole-partial",
        breaks="a hole that begins inside a page leaves that part",
        edits=(
            _edit(
                SHMEM,
                "\tfolio = shmem_get_partial_folio(inode, lstart >> PAGE_SHIFT);",
                "\tfolio = lend == -1 ? shmem_get_partial_folio(inode, lstart >> PAGE_SHIFT) : NULL;",
            ),
        ),
        kills=("files.n03_allocates_memfd",),
    ),
    Mutant(
        name="tail-partial",
        breaks="a hole that ends inside a page leaves that part",
        edits=(
            _edit(
                SHMEM,
                "\tif (!same_folio)\n\t\tfolio = shmem_get_partial_folio(inode, lend",
                "\tif (!same_folio && lend == -1)\n\t\tfolio = shmem_get_partial_folio(inode, lend",
            ),
        ),
        kills=("files.n03_allocates_memfd",),
    ),
    Mutant(
        name="seal-protect",
        breaks="sealed mappings can be protected in another way",
        edits=(_edit("mm/mprotect.c", "\tif (!can_modify_vma(vma))", "\tif (0)"),),
        kills=("dontexpand.f08_sealed",),
    ),
    Mutant(
        name="seal-madvise",
        breaks="sealed mappings can be discarded",
        edits=(_edit(MADVISE, "\tif (unlikely(!can_modify_vma_madv(vma, behavior)))", "\tif (0)"),),
        kills=("dontexpand.f08_sealed",),
    ),
    Mutant(
        name="msync-hole",
        breaks="msync over a hole succeeds",
        edits=(_edit("mm/msync.c", "\t\t\tunmapped_error = -ENOMEM;", "\t\t\tunmapped_error = 0;"),),
        kills=("interfaces.g12_sync_and_advise",),
    ),
    Mutant(
        name="mbind-flags",
        breaks="mbind takes unknown flags",
        edits=(
            _edit(
                MEMPOLICY,
                ("\tif (flags & ~(unsigned long)MPOL_MF_VALID)\n\t\treturn -EINVAL;\n\tif ((flags & MPOL_MF_MOVE_ALL)"),
                "\tif ((flags & MPOL_MF_MOVE_ALL)",
            ),
        ),
        kills=("numa_policy.e02_new_part_has_no_policy",),
    ),
    Mutant(
        name="numa-maps-policy",
        breaks="numa_maps has the task's policy for every range",
        edits=(
            _edit(
                "fs/proc/task_mmu.c", "\tpol = __get_vma_policy(vma, vma->vm_start, &ilx);", "\tpol = NULL; ilx = 0;"
            ),
        ),
        kills=("numa_policy.e14_numa_maps",),
    ),
    Mutant(
        name="tmpfs-limit",
        breaks="tmpfs has a page more than its size",
        edits=(_edit(SHMEM, "\t\t\t\t\t\tsbinfo->max_blocks, pages))", "\t\t\t\t\t\tsbinfo->max_blocks + 1, pages))"),),
        kills=("files.n03_allocates_tmpfs",),
    ),
    Mutant(
        name="read-only-segment-is-written",
        breaks="a read-only view of a segment can be made writable",
        edits=(_edit(SHM, "\t\tf_flags = O_RDONLY;", "\t\tf_flags = O_RDWR;"),),
        kills=("guards.i03_sysv",),
    ),
    Mutant(
        name="uffd-fork",
        breaks="a child's memory stays registered with the parent's userfaultfd",
        edits=(
            _edit(
                "fs/userfaultfd.c",
                (
                    "\tif (!(octx->features & UFFD_FEATURE_EVENT_FORK)) {\n"
                    "\t\tuserfaultfd_reset_ctx(vma);\n"
                    "\t\treturn 0;"
                ),
                "\tif (!(octx->features & UFFD_FEATURE_EVENT_FORK)) {\n\t\treturn 0;",
            ),
        ),
        kills=("interfaces.g19_uffd_register",),
    ),
    Mutant(
        name="anybody-moves-to-zero",
        breaks="anybody may move memory to address 0",
        edits=(_edit("mm/mmap.c", "\terror = security_mmap_addr(addr);", "\terror = 0;"),),
        kills=("limits.c19_bad_target",),
    ),
    Mutant(
        name="hugetlb-unaligned",
        breaks="a mapping of huge pages shrinks to any page",
        edits=(_edit(MREMAP, "\t\tnew_len = ALIGN(new_len, huge_page_size(h));\n", ""),),
        kills=("guards.i07_hugetlb_shared",),
    ),
    Mutant(
        name="falloc-stale",
        breaks="what fallocate allocated is not cleared before it is read",
        edits=(
            _edit(
                SHMEM,
                "\tif (sgp != SGP_WRITE && !folio_test_uptodate(folio)) {\n\t\tlong i, n",
                (
                    "\tif (sgp != SGP_WRITE && !folio_test_uptodate(folio) && !alloced) {\n"
                    "\t\tfolio_mark_uptodate(folio);\n"
                    "\t} else if (sgp != SGP_WRITE && !folio_test_uptodate(folio)) {\n"
                    "\t\tlong i, n"
                ),
            ),
        ),
        kills=("files.n03_allocates_memfd",),
    ),
    Mutant(
        name="thp-clear",
        breaks="only the first page of a large folio is cleared",
        edits=(
            _edit(
                SHMEM,
                ("\t\tlong i, n = folio_nr_pages(folio);\n\n\t\tfor (i = 0; i < n; i++)\n\t\t\tclear_highpage"),
                (
                    "\t\tlong i, n = folio_nr_pages(folio);\n"
                    "\n"
                    "\t\tn = n > 2 ? n / 2 : n;\n"
                    "\t\tfor (i = 0; i < n; i++)\n"
                    "\t\t\tclear_highpage"
                ),
            ),
        ),
        kills=("thp.d13_whole_huge_pages",),
    ),
    Mutant(
        name="swapin-policy",
        breaks="what comes back from swap ignores the policy of the object",
        edits=(
            _edit(
                SHMEM,
                "\tmpol = shmem_get_pgoff_policy(info, index, 0, &ilx);",
                "\tmpol = shmem_get_pgoff_policy(info, index + 4, 0, &ilx);",
            ),
        ),
        kills=("thp.d10_swapped_out_and_in",),
    ),
    Mutant(
        name="huge-interleave-by-small-pages",
        breaks="interleaving of large folios counts small pages",
        edits=(
            _edit(
                SHMEM, "\t*ilx = info->vfs_inode.i_ino + (index >> order);", "\t*ilx = info->vfs_inode.i_ino + index;"
            ),
        ),
        kills=("thp.d13_whole_huge_pages",),
    ),
    Mutant(
        name="uffd-policy",
        breaks="pages that userfaultfd fills ignore the policy",
        edits=(
            _edit(
                SHMEM,
                ("\t\tfolio = shmem_alloc_folio(gfp, 0, info, pgoff);\n\t\tif (!folio)\n\t\t\tgoto out_unacct_blocks;"),
                (
                    "\t\tfolio = shmem_alloc_folio(gfp, 0, SHMEM_I(inode), pgoff + 4096);\n"
                    "\t\tif (!folio)\n"
                    "\t\t\tgoto out_unacct_blocks;"
                ),
            ),
        ),
        kills=("interfaces.g37_uffd_copy_memfd",),
    ),
    Mutant(
        name="dirty-lost",
        breaks="what an unmapped view has written is not dirty",
        edits=(
            _edit(
                "mm/memory.c",
                ("\t\tif (pte_dirty(ptent)) {\n\t\t\tfolio_mark_dirty(folio);\n\t\t\tif (tlb_delay_rmap(tlb)) {"),
                (
                    "\t\tif (pte_dirty(ptent)) {\n"
                    "\t\t\tif (!folio_test_swapbacked(folio))\n"
                    "\t\t\t\tfolio_mark_dirty(folio);\n"
                    "\t\t\tif (tlb_delay_rmap(tlb)) {"
                ),
            ),
        ),
        kills=("thp.d10_swapped_out_and_in",),
    ),
    Mutant(
        name="move-leaves-dirty",
        breaks="a move leaves the dirty bit behind",
        edits=(
            _edit(
                MREMAP,
                "\t\tpte = move_pte(pte, old_addr, new_addr);",
                "\t\tpte = pte_mkclean(move_pte(pte, old_addr, new_addr));",
            ),
        ),
        kills=("thp.d10_swapped_out_and_in",),
    ),
    Mutant(
        name="populate-read-writes",
        breaks="MADV_POPULATE_READ breaks copies",
        edits=(
            _edit(
                MADVISE,
                "\tconst bool write = behavior == MADV_POPULATE_WRITE;",
                "\tconst bool write = behavior == MADV_POPULATE_WRITE || start;",
            ),
        ),
        kills=("interfaces.g07_populate_read",),
    ),
    Mutant(
        name="resident-as-a-file",
        breaks="shared memory counts as a file's",
        edits=(
            _edit(
                "include/linux/mm.h",
                "\tif (folio_test_swapbacked(folio))\n\t\treturn MM_SHMEMPAGES;\n\treturn MM_FILEPAGES;",
                "\treturn MM_FILEPAGES;",
            ),
        ),
        kills=("interfaces.g16_meminfo_shmem",),
    ),
)
