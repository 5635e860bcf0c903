import os
import lit.formats

config.name = "megacc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["e2e", "Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.megacc_build, "test")
config.environment["PATH"] = os.pathsep.join([os.path.join(config.megacc_build, "bin"), config.llvm_tools, os.environ["PATH"]])
config.substitutions.append(("%models", os.path.join(config.megacc_source, "models")))
