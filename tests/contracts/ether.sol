// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

// The ways in which ether moves, or fails to, without a log. Written for bolo's tests: nothing is safe to use.

function pay(address to, uint256 value) {
    (bool sent,) = to.call{value: value}("");
    require(sent, "not sent");
}

/// Whatever is sent to it comes back: the transaction is in the chain, the value has not moved.
contract Reverter {
    receive() external payable {
        revert("no");
    }

    fallback() external payable {
        revert("no");
    }
}

contract Splitter {
    /// Equal shares by internal calls; what does not divide stays here.
    function split(address[] calldata to) external payable {
        uint256 share = msg.value / to.length;
        for (uint256 i = 0; i < to.length; i++) {
            pay(to[i], share);
        }
    }

    /// Succeeds, although the frame that paid `to` was undone: the ether stays here.
    function forwardThenRevert(address to) external payable {
        try this.payThenFail{value: msg.value}(to) {} catch {}
    }

    function payThenFail(address to) external payable {
        pay(to, msg.value);
        revert("undone");
    }
}

/// A cold wallet whose whole balance leaves in an internal call: value 0 at the top, no log. Anybody may sweep it.
contract Vault {
    receive() external payable {}

    function sweep(address payable to) external {
        pay(to, address(this).balance);
    }
}

interface Token {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// Swaps at fixed prices out of what it holds. The price of a token is in wei for each of its base units.
contract Pool {
    mapping(address => uint256) public priceOf;

    receive() external payable {}

    function setPrice(address token, uint256 price) external {
        priceOf[token] = price;
    }

    function swapTokenForEth(address token, uint256 amount) external {
        require(Token(token).transferFrom(msg.sender, address(this), amount), "not pulled");
        pay(msg.sender, amount * priceOf[token]);
    }

    function swapTokens(address tokenIn, address tokenOut, uint256 amountIn) external {
        require(Token(tokenIn).transferFrom(msg.sender, address(this), amountIn), "not pulled");
        require(Token(tokenOut).transfer(msg.sender, amountIn * priceOf[tokenIn] / priceOf[tokenOut]), "not paid");
    }
}

/// Takes one fixed note with a commitment in the calldata, the way mixers are fed.
contract Mixer {
    event Deposit(bytes32 indexed commitment, uint32 leafIndex, uint256 timestamp);

    uint256 public immutable denomination;
    uint32 private next;

    constructor(uint256 denomination_) {
        denomination = denomination_;
    }

    function deposit(bytes32 commitment) external payable {
        require(msg.value == denomination, "not one note");
        emit Deposit(commitment, next++, block.timestamp);
    }
}

/// Its end pays `to`; since EIP-6780 the code stays unless it was made in the same transaction.
contract SelfDestructor {
    constructor() payable {}

    function kill(address payable to) external {
        selfdestruct(to);
    }
}
